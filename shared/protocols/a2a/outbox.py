"""Tells the webhooks of A2A tasks what happened: from a durable outbox, in order, retried, to checked addresses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from shared import logs
from shared.client.client import AddressRefused
from shared.db.database import Database, Statement
from shared.errors import StorageFull
from shared.protocols.a2a import sql

MAX_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 1.0  # doubled each time: the eighth attempt comes about two minutes after the first
SEND_SECONDS = 10.0
AT_ONCE = 16
LOOK_SECONDS = 60.0  # between two looks when nothing is due
KEPT_TASKS = 10_000  # that have ended; older ones are forgotten

Hook = tuple[str, str]  # task, hook


class Outbox:
    """Delivers what was put into the outbox; each hook gets one thing at a time, and none waits for another hook.

    `client_for` gives the HTTP client that may call a URL.
    """

    def __init__(
        self, db: Database, client_for: Callable[[str], httpx.AsyncClient], *, wall: Callable[[], float] = time.time
    ) -> None:
        self._db = db
        self._client_for = client_for
        self._wall = wall
        self._busy: set[Hook] = set()
        self._news = asyncio.Event()

    def look(self) -> None:
        """Something was put in."""
        self._news.set()

    async def run(self) -> None:
        """Delivers for ever, and now and then forgets what is old."""
        clock = asyncio.get_running_loop().time
        pruned = clock()
        async with asyncio.TaskGroup() as deliveries:
            while True:
                self._news.clear()
                try:
                    await self._pause(await self._begin(deliveries))
                    if clock() - pruned >= LOOK_SECONDS:
                        pruned = clock()
                        await self._prune()
                except StorageFull:
                    logs.get().warning("journal.full")
                    await asyncio.sleep(1.0)

    async def _begin(self, deliveries: asyncio.TaskGroup) -> float:
        """Starts what is due; the seconds until something else will be."""
        free = AT_ONCE - len(self._busy)
        rows = await self._db.read(sql.NEXT, {"limit": AT_ONCE + len(self._busy)})
        for seq, task_id, hook_id, due in rows:
            if (task_id, hook_id) in self._busy:
                continue
            if free <= 0:
                break
            if due > self._wall():
                return float(min(LOOK_SECONDS, max(0.01, due - self._wall())))
            self._busy.add((task_id, hook_id))
            deliveries.create_task(self._deliver(seq, (task_id, hook_id)), name=f"push:{task_id}")
            free -= 1
        return LOOK_SECONDS

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _deliver(self, seq: int, hook: Hook) -> None:
        try:
            for url, headers, body, attempts in await self._db.read(sql.UNTOLD, {"seq": seq}):
                error, again = await self._sent(url, headers, body) if url else (None, False)
                if error is not None and again and attempts + 1 < MAX_ATTEMPTS:
                    due = self._wall() + FIRST_PAUSE_SECONDS * 2.0**attempts
                    row = {"seq": seq, "attempts": attempts + 1, "due": due}
                    await self._db.write("a2a.again", Statement(sql.AGAIN, row))
                    return
                if error is not None:
                    logs.get().warning("push.given_up", task_id=hook[0], host=urlsplit(url).hostname, why=error)
                await self._db.write("a2a.told", Statement(sql.TOLD, {"seq": seq}))
        except StorageFull:
            logs.get().warning("journal.full")
            await asyncio.sleep(1.0)
        finally:
            self._busy.discard(hook)
            self._news.set()

    async def _sent(self, url: str, headers: str, body: str) -> tuple[str | None, bool]:
        """What went wrong, and whether it may go better next time."""
        try:
            answer = await self._client_for(url).post(
                url,
                content=body,
                headers={"Content-Type": "application/json", **json.loads(headers)},
                extensions={"deadline": SEND_SECONDS, "max_bytes": 65_536},
            )
        except (AddressRefused, httpx.InvalidURL, httpx.UnsupportedProtocol) as exc:
            return str(exc), False
        except httpx.HTTPError as exc:
            return f"{type(exc).__name__}: {exc}", True
        return (None, False) if answer.is_success else (f"HTTP {answer.status_code}", True)

    async def _prune(self) -> None:
        """Forgets the oldest ended tasks beyond `KEPT_TASKS`."""
        guard = Statement("SELECT 1")
        await self._db.write("a2a.prune", guard, *(Statement(one, {"kept": KEPT_TASKS}) for one in sql.PRUNE))
