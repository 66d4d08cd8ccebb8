"""Tells who waits here for a task that another coordinator carries that something happened, and that it has ended."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import asyncpg

from coordinator.journal.postgres.dialect import ENDED
from shared import logs
from shared.db.postgres.connection import LOST, REFUSED, Connection
from shared.db.postgres.teller import CHANNEL, EVERYTHING

POLL_SECONDS = 1.0  # the safety net: a notification may be lost with its connection
LOOK_SECONDS = 0.5  # whether the connection is still there
PROBE_EVERY = 10  # looks: whether the server still answers on it
PROBE_SECONDS = 5.0

Connect = Callable[[], "Awaitable[asyncpg.Connection[asyncpg.Record]]"]


class News:
    """`heard` gets the id of every task of which another coordinator has written, or None for any."""

    def __init__(self, connect: Connect, heard: Callable[[str | None], None]) -> None:
        self._connect = connect
        self._heard = heard
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def watch(self, task_id: str) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        """What it yields waits until the task may have ended since the last look, at most a second."""
        news = asyncio.Event()
        self._waiting[task_id].add(news)

        async def wait() -> None:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(news.wait(), POLL_SECONDS)
            news.clear()

        try:
            yield wait
        finally:
            self._waiting[task_id].discard(news)
            if not self._waiting[task_id]:
                del self._waiting[task_id]

    async def listen_forever(self) -> None:
        told = False
        while True:
            with suppress(*LOST, *REFUSED):
                connection = await self._connect()
                try:
                    await connection.add_listener(CHANNEL, self._read)
                    told = False
                    self._read(None, 0, CHANNEL, EVERYTHING)  # what came while nobody listened
                    await self._watch(connection)
                finally:
                    connection.terminate()
            if not told:
                logs.get().warning("news.broke")
                told = True
            await asyncio.sleep(LOOK_SECONDS)

    async def _watch(self, connection: Connection[asyncpg.Record]) -> None:
        """Until it is closed; raises where it is cut off, of which a connection that only listens never learns."""
        looks = 0
        while not connection.is_closed():
            await asyncio.sleep(LOOK_SECONDS)
            looks += 1
            if looks % PROBE_EVERY == 0:
                await connection.execute(f"LISTEN {CHANNEL}", timeout=PROBE_SECONDS)

    def tell(self, task_id: str | None) -> None:
        """Has those look who wait for the end of a task, or of any."""
        waiting = self._waiting.values() if task_id is None else [self._waiting.get(task_id, set())]
        for events in waiting:
            for event in events:
                event.set()

    def _read(self, connection: Any, pid: int, channel: str, payload: Any) -> None:
        for news in str(payload).split(","):
            task_id = None if news == EVERYTHING else news.removesuffix(ENDED)
            if task_id is None or news.endswith(ENDED):
                self.tell(task_id)
            self._heard(task_id)
