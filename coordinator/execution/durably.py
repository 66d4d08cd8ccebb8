"""Writing what must not be lost: again and again while the disk is full."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shared import logs
from shared.errors import StorageUnwritable

REWRITE_SECONDS = 0.5  # between two tries


async def write_durably(write: Callable[[], Awaitable[bool]]) -> bool:
    """Writes, and repeats the write while the disk is full: no result is lost."""
    while True:
        try:
            return await write()
        except StorageUnwritable as exc:
            logs.get().warning(exc.event)
            await asyncio.sleep(REWRITE_SECONDS)
