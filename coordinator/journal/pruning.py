"""Removes old history on a schedule, and returns the space it took, in small portions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from coordinator.journal import sql
from coordinator.journal.store import Store
from shared import logs
from shared.db.database import Statement
from shared.errors import StorageUnwritable

EVERY_SECONDS = 60.0
BITE = 200  # parts of recordings that are looked at at once
PAUSE_SECONDS = 0.1  # after a bite of 2 ms and its commit
DAY_SECONDS = 86_400.0


async def drop_recordings(store: Store, *, most: int) -> int:
    """Deletes the recordings of the oldest tasks until no more than so many bytes are left; of how many tasks."""
    [(left,)] = await store.read(sql.RECORDED_BYTES, aside=True)
    dropped = 0
    while left > most:
        sizes: Counter[str] = Counter()
        for _, task_id, size in await store.read(sql.OLDEST_RECORDINGS, {"limit": BITE}, aside=True):
            sizes[task_id] += size
        for task_id, size in sizes.items():
            if left <= most:
                break
            store.post("store.drop_recording", Statement(sql.DROP_RECORDING, {"task_id": task_id}))
            left -= size
            dropped += 1
        await store.attempts_written()
        await asyncio.sleep(PAUSE_SECONDS)
    return dropped


async def prune_forever(store: Store, *, days: float, wall: Callable[[], float], recorded: int | None = None) -> None:
    """Deletes tasks that ended more than `days` ago and gives their space back, every minute.

    Of recordings, where there are any, the newest `recorded` bytes stay.
    """
    while True:
        pruned = 0
        try:
            while gone := await store.prune(before=wall() - days * DAY_SECONDS):
                pruned += gone
                await asyncio.sleep(PAUSE_SECONDS)
            if recorded is not None:
                await drop_recordings(store, most=recorded)
            if await store.give_back():
                while await store.give_back():  # noqa: ASYNC110 (it does the work)
                    await asyncio.sleep(PAUSE_SECONDS)
                await store.checkpoint()
        except StorageUnwritable as exc:
            logs.get().warning(exc.event)
        if pruned:
            logs.get().info("history.pruned", tasks=pruned)
        await asyncio.sleep(EVERY_SECONDS)
