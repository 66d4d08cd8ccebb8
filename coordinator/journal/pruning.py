"""Removes old history on a schedule, and returns the space it took, in small portions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from coordinator.journal.store import Store
from shared import logs
from shared.errors import StorageUnwritable

EVERY_SECONDS = 60.0
PAUSE_SECONDS = 0.1  # after a bite of 2 ms and its commit
DAY_SECONDS = 86_400.0


async def prune_forever(store: Store, *, days: float, wall: Callable[[], float]) -> None:
    """Deletes tasks that ended more than `days` ago and gives their space back, every minute."""
    while True:
        pruned = 0
        try:
            while gone := await store.prune(before=wall() - days * DAY_SECONDS):
                pruned += gone
                await asyncio.sleep(PAUSE_SECONDS)
            if await store.give_back():
                while await store.give_back():  # noqa: ASYNC110 (it does the work)
                    await asyncio.sleep(PAUSE_SECONDS)
                await store.checkpoint()
        except StorageUnwritable as exc:
            logs.get().warning(exc.event)
        if pruned:
            logs.get().info("history.pruned", tasks=pruned)
        await asyncio.sleep(EVERY_SECONDS)
