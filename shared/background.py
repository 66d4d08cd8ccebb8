"""Supervised loops: each has a name and an owner, and when one dies, the service ends so that it is restarted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from shared import logs


class Background:
    """Owns the loops of one service.

    A loop that returns or raises calls `on_death(name)`: Compose restarts a process that exits, but leaves one
    alone that merely stopped working.
    """

    def __init__(self, on_death: Callable[[str], None]) -> None:
        self._on_death = on_death
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def loop(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Starts a loop that must run as long as the service does."""
        task = asyncio.create_task(run(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def once(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts work that ends by itself; only an exception counts as a death."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._tasks.discard(task)
            return
        self._ended(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._closing or task.cancelled():
            return
        logs.get().error("loop.died", loop=task.get_name(), exc_info=task.exception())
        self._on_death(task.get_name())
