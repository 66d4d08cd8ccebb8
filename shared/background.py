"""Supervised loops: each has a name and an owner, ends when that closes, and when one dies, so does the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self

from shared import logs

AGAIN_SECONDS = 2.0  # for a task to clean up, before it is cancelled once more


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
        await end(self._tasks)

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


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks until all have ended; their errors are dropped.

    A task that is cancelled while what it waits for ends or fails may go on: `asyncio.wait_for` of Python 3.11 then
    drops the cancellation (https://github.com/python/cpython/issues/86296), and so does a loop that goes on after an
    error which a driver raised in its place.
    """
    all_ = set(tasks)
    left = {task for task in all_ if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
    for task in all_:
        if not task.cancelled():
            task.exception()
