"""The clock's work that belongs to no task: old history goes, a little at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from coordinator.journal.store import Store
from shared import logs
from shared.errors import StorageFull

EVERY_SECONDS = 60.0
BATCH = 200  # tasks a write, so that nobody waits long behind it
DAY_SECONDS = 86_400.0


async def prune_for_ever(store: Store, *, days: float, wall: Callable[[], float]) -> None:
    """Deletes tasks that ended more than `days` ago, every minute."""
    while True:
        pruned = 0
        try:
            while gone := await store.prune(before=wall() - days * DAY_SECONDS, limit=BATCH):
                pruned += gone
                await asyncio.sleep(0.05)
        except StorageFull:
            logs.get().warning("journal.full")
        if pruned:
            logs.get().info("history.pruned", tasks=pruned)
        await asyncio.sleep(EVERY_SECONDS)
