"""Watches the journal once a second."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from coordinator.journal.store import Store
from shared.errors import StorageUnwritable

LOOK_SECONDS = 1.0


async def watch_forever(store: Store) -> None:
    """Tries whether a journal that could not be written can be written again, for `/ready` to say so without a task."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if store.find_trouble() is not None:
            with suppress(StorageUnwritable):
                await store.try_to_write()
