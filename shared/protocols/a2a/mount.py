"""The A2A 1.0 façade: JSON-RPC at `/` and `/a2a`, REST under `/a2a/rest`, the card; the SDK is loaded on first use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import import_module
from random import Random
from typing import Any

import httpx
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from shared.background import Background
from shared.client import client as transport
from shared.client.addresses import why_url_refused
from shared.db.database import Database
from shared.db.memory import MemoryDatabase
from shared.db.outbox import Outbox
from shared.db.sqlite import Sqlite
from shared.errors import StorageUnwritable, Unavailable
from shared.protocols.a2a import sql
from shared.protocols.a2a.http import CARD_PATH, REST_PREFIX, RPC_PATHS
from shared.protocols.a2a.outbox import Pushes, prune_forever
from shared.protocols.mounting import Host, Mount
from shared.protocols.sharing import Shared
from shared.urls import is_loopback

FILE = "a2a.db"
LOOK_SECONDS = 1.0  # between two looks at what other processes do


class _Door:
    """What is there before the SDK is: an ASGI app that loads it, and the lifespan that takes open tasks up."""

    def __init__(self, host: Host, make_executor: Callable[[Host], Any] | None) -> None:
        self._host = host
        self._make_executor = make_executor
        self._lock = asyncio.Lock()
        self._stack: AsyncExitStack | None = None
        self._db: Database | None = None
        self._runtime: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        runtime = self._runtime or await self._load()
        await runtime.app(scope, receive, send)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Looks at what an earlier run, or another process, has left; where nothing is, nothing is opened."""
        async with AsyncExitStack() as stack:
            self._stack = stack
            background = await stack.enter_async_context(Background(self._host.app.fail))
            resuming: asyncio.Task[None] | None = None
            folder, shared = self._host.folder, self._host.get_shared()
            if shared is not None:
                await self._open_database(stack)
                background.loop("a2a-shared", lambda: self._look_around(shared))
            elif folder is not None and await asyncio.to_thread((folder / FILE).exists):
                db = await self._open_database(stack)
                if await db.read(sql.ANY_OPEN):
                    resuming = background.once("a2a-resume", self._resume())
            yield
            if resuming is not None:
                resuming.cancel()
                await asyncio.wait({resuming})
            async with self._lock:
                self._stack = self._runtime = self._db = None

    async def _look_around(self, shared: Shared) -> None:
        """Once a second: whether another process has left something, taken it over or cancelled it."""
        while not self._host.app.stopping:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(StorageUnwritable):  # the database is away; the next look comes in a second
                since = {"since": shared.wall() - shared.gone_seconds}
                if self._runtime is not None or await shared.db.read(sql.LEFT, since):
                    runtime = await self._load()
                    if runtime.handing_over is not None:
                        await runtime.handing_over.look()
        await asyncio.Event().wait()  # what is open now is left to others

    async def _resume(self) -> None:
        await (await self._load()).resume()

    async def _load(self) -> Any:
        async with self._lock:
            if self._runtime is None:
                if self._stack is None:
                    raise Unavailable("The service is not open.", retry_after=1)
                module = await asyncio.to_thread(import_module, "shared.protocols.a2a.runtime")
                db = await self._open_database(self._stack)
                running = module.open_runtime(
                    self._host,
                    db,
                    news=self._outbox.look,
                    refusal=self._why_refused,
                    make_executor=self._make_executor,
                    shared=self._host.get_shared(),
                )
                self._runtime = await self._stack.enter_async_context(running)
            return self._runtime

    async def _open_database(self, stack: AsyncExitStack) -> Database:
        if self._db is None:
            shared = self._host.get_shared()
            db = shared.db if shared is not None else await self._open_own(stack)
            near = await stack.enter_async_context(transport.make_client(policy="agents"))
            far = await stack.enter_async_context(transport.make_client(policy="web"))
            pushes = Pushes(db, lambda url: near if self._host.private or self._is_near(url) else far)
            wall = shared.wall if shared is not None else time.time
            self._outbox = Outbox(pushes, wall=wall, random=Random(), shared=db.shared)
            loops = await stack.enter_async_context(Background(self._host.app.fail))
            loops.loop("a2a-outbox", self._outbox.run)
            loops.loop("a2a-pruning", lambda: prune_forever(db, wall=wall))
            self._db = db
        return self._db

    async def _open_own(self, stack: AsyncExitStack) -> Database:
        folder = self._host.folder
        db: Database = MemoryDatabase() if folder is None else Sqlite(folder / FILE, on_broken=self._host.app.fail)
        stack.push_async_callback(db.close)
        await db.open(sql.MIGRATIONS)
        return db

    def _is_near(self, url: str) -> bool:
        """Whether a URL leads to this machine, and so does the service's own: who can call it could call that."""
        return self._listens_on_loopback and is_loopback(httpx.URL(url).host)

    @property
    def _listens_on_loopback(self) -> bool:
        return is_loopback(self._host.app.address)

    def _why_refused(self, url: str) -> str | None:
        return why_url_refused(url, private=self._host.private, loopback=self._listens_on_loopback)


def make_mount(make_executor: Callable[[Host], Any] | None = None) -> Mount:
    """The façade; `make_executor` gives the SDK another AgentExecutor than the one over the host's Face."""

    def mount(host: Host) -> None:
        door = _Door(host, make_executor)
        routes = host.app.router.routes
        routes.extend(Route(path, door, methods=["POST"]) for path in RPC_PATHS)
        routes.append(Route(CARD_PATH, door, methods=["GET"]))
        routes.append(Route(REST_PREFIX + "/{path:path}", door, methods=["GET", "POST", "DELETE"]))
        host.app.openings.append(door.open)

    return mount


mount = make_mount()
