"""Waiting that a pause of this process does not use up: `docker pause`, a machine that sleeps, a loop that stood."""

from __future__ import annotations

import asyncio
from typing import Any

WAITS = 4  # one long wait would be over at the end of a pause, before what came meanwhile is read


async def wait_awake(work: asyncio.Future[Any], seconds: float) -> bool:
    """Waits so long for the work, and not for what it returns; whether it is done.

    In several short waits, of which a pause costs one.
    """
    for _ in range(WAITS):
        await asyncio.wait({work}, timeout=seconds / WAITS)
        if work.done():
            break
    return work.done()
