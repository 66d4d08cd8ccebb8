"""Admission: a limit on running tasks, a bounded queue by priority, and a measured Retry-After."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable
from itertools import count

from pydantic import JsonValue
from pydantic_core import to_json

from coordinator.tasks.task import Task
from shared.errors import Overloaded

MEASURED_ENDS = 64  # the latest ends of tasks, from which the drain rate is measured
LONGEST_RETRY_SECONDS = 300
MAX_WEIGHT = 100_000_000  # of all open tasks: all are resumed at startup, in the 1 GB that a container has
VALUE_BYTES = 60  # of one small JSON value in memory


def weigh(task: Task) -> int:
    """About how many bytes of memory the caller's input takes."""
    inputs = sum(_measure(step.input, to_json(step.input)) for step in task.steps if step.input is not None)
    return len(task.description) + _measure(task.context, task.context_json) + inputs


def _measure(value: JsonValue, json: bytes) -> int:
    return len(json) if value is None or isinstance(value, str) else len(json) + VALUE_BYTES * json.count(b",")


class Admission:
    """Places for running tasks. Higher priority first; within one, first come, first served."""

    def __init__(
        self, *, max_running: int, max_queued: int, now: Callable[[], float], waited: Callable[[float], None]
    ) -> None:
        self._max_running = max_running
        self._max_queued = max_queued
        self._now = now
        self._waited = waited
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._ends: deque[float] = deque(maxlen=MEASURED_ENDS)
        self.running = 0
        self.queued = 0

    def check(self, open_tasks: int, weight: int = 0) -> None:
        """Raises `Overloaded` if there is no room for one more task, whether running or queued.

        `open_tasks` includes tasks that are being accepted. `weight` is that of all open tasks and the new one.
        """
        if weight > MAX_WEIGHT:
            why = f"The open tasks together with this one exceed {MAX_WEIGHT // 1_000_000} MB of context and input"
        elif open_tasks < self._max_running + self._max_queued:
            return
        else:
            why = f"{open_tasks - self._max_running} tasks are waiting"
        seconds = self.estimate_retry_seconds()
        raise Overloaded(f"{why}; try again in {seconds} s.", retry_after=seconds)

    def estimate_retry_seconds(self) -> int:
        """Seconds until the queue has room for one more task, from how fast tasks ended lately."""
        if len(self._ends) < 2:
            return 5
        seconds = max(self._now() - self._ends[0], 0.001)
        rate = len(self._ends) / seconds
        excess = max(1, self.queued - self._max_queued + 1)
        return min(LONGEST_RETRY_SECONDS, max(1, math.ceil(excess / rate)))

    @property
    def is_free(self) -> bool:
        """Whether `enter` will not wait."""
        return self.running < self._max_running and not self.queued

    async def enter(self, priority: int) -> None:
        """Waits for a place. Every return is paired with one `leave`; a cancelled wait gives its place back."""
        if self.is_free:
            self.running += 1
            self._waited(0.0)
            return
        began = self._now()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (-priority, next(self._order), place))
        self.queued += 1
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()
            else:
                self.queued -= 1
            raise
        self._waited(self._now() - began)

    def leave(self) -> None:
        """A running task has ended; the next one starts."""
        self._ends.append(self._now())
        while self._queue:
            _, _, place = heapq.heappop(self._queue)
            if not place.done():
                self.queued -= 1
                place.set_result(None)
                return
        self.running -= 1
