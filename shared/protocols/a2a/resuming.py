"""The tasks that a previous process left open, until they are resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

PATIENCE_SECONDS = 2.0  # who works in silence is at work by then


class Resuming:
    """`wait` returns once a task is at work again, at once if it was not left."""

    def __init__(self, task_ids: Iterable[str]) -> None:
        self._left = {id: asyncio.Event() for id in task_ids}

    def mark_at_work(self, task_id: str) -> None:
        if (event := self._left.pop(task_id, None)) is not None:
            event.set()

    async def wait(self, task_id: str) -> None:
        if (event := self._left.get(task_id)) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await event.wait()
