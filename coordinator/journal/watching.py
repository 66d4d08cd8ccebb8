"""Watches the journal while it is used: its mark and its seals once a second, all that is kept once a day."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from coordinator.journal import checking, seals, sql
from coordinator.journal.events import TaskEvent
from shared.db.database import Database, Statement
from shared.errors import StorageUnwritable

LOOK_SECONDS = 1.0
PORTION_SECONDS = 0.25  # between two portions of 200 rows: some 2 % of a processor
CHECK_SECONDS = 86_400.0
SEAL_SECONDS = 0.002  # of the writer's time, before others have their turn


class Watch:
    """What a start compares, kept off the path of a commit: what is younger than a second is not in it yet."""

    def __init__(self, db: Database, *, wall: Callable[[], float] = time.time) -> None:
        self._db = db
        self._wall = wall
        self._durable = 0
        self._marked = -1
        self._unsealed: set[str] = set()  # tasks whose rows have changed and that have not ended

    def start(self, last_event: int) -> None:
        self._durable = last_event

    def see(self, event: TaskEvent) -> None:
        """An event that is durable."""
        self._durable = event.id
        if event.task_id is not None and event.type == "task.finished":
            self._unsealed.discard(event.task_id)
        elif event.task_id is not None:
            self._unsealed.add(event.task_id)

    async def keep_mark(self) -> None:
        """Writes beside the journal how far it has come, if it has come further."""
        if self._durable > self._marked and self._db.find_trouble() is None:
            self._marked = self._durable
            await self._db.write_mark(self._marked)

    async def seal_open(self) -> None:
        """Seals what has changed of tasks that have not ended; raises as every write does."""
        changed, self._unsealed = self._unsealed, set()
        if not self._db.sealed:
            return
        left = [Statement(text, {"id": id}) for id in changed for text in seals.SEAL_TASK]
        try:
            while left:
                left = left[await self._db.write_some("store.seal", left, seconds=SEAL_SECONDS) :]
        except StorageUnwritable:
            self._unsealed |= changed
            raise

    async def check_kept(self, pause: Callable[[], Awaitable[None]]) -> None:
        """Looks through all that is kept, with a pause after each portion; the log tells what is damaged."""
        await checking.check_kept(self._db, pause)

    async def try_to_write(self) -> None:
        """Writes a row that means nothing where the last write failed; raises as every write does."""
        if self._db.find_trouble() is not None:
            await self._db.write(
                "store.try_to_write", Statement(sql.SET_META, {"key": "tried", "value": str(self._wall())})
            )


async def watch_forever(watch: Watch) -> None:
    """Keeps the mark and the seals; tries to write where that failed, for `/ready` to say when it can be done again."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        with suppress(StorageUnwritable):
            await watch.try_to_write()
            await watch.seal_open()
            await watch.keep_mark()


async def check_forever(watch: Watch) -> None:
    """Compares all that is kept with what was written, once after the start and then once a day."""
    while True:
        with suppress(StorageUnwritable):
            await watch.check_kept(pause=lambda: asyncio.sleep(PORTION_SECONDS))
        await asyncio.sleep(CHECK_SECONDS)
