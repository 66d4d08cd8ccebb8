"""Admission: which tasks are accepted, from the room in the queue and the time that they would wait in it; places."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from pydantic import JsonValue
from pydantic_core import to_json

from coordinator.admission.comeback import Comeback
from coordinator.admission.forecast import Forecast, kind_of
from coordinator.admission.turns import Turn, Turns
from coordinator.tasks.task import Task
from shared.errors import Overloaded

MAX_WEIGHT = 100_000_000  # of all open tasks: all are resumed at startup, in the 1 GB that a container has
VALUE_BYTES = 60  # of one small JSON value in memory
SAFETY = 1.25  # times the expected wait: at the edge, every second task would come too late


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
        self._forecast = Forecast(now)
        self._comeback = Comeback(places=max_running, room=max_running + max_queued, now=now)
        self.turns = Turns(self._forecast, places=max_running, now=now)
        self.running = 0
        self.queued = 0

    def admit(self, task: Task, open_tasks: int, weight: int = 0) -> Turn:
        """The task's turn, for whoever carries it; raises `Overloaded` where there is no room, or not in its time.

        `open_tasks` includes tasks that are being accepted. `weight` is that of all open tasks and the new one.
        """
        self.check_room(open_tasks)
        if weight > MAX_WEIGHT:
            why = f"The open tasks together with this one exceed {MAX_WEIGHT // 1_000_000} MB of context and input"
            raise self._refuse(why)
        if open_tasks >= self._max_running and (wait := self.turns.estimate_wait(task.priority)):
            too_long = SAFETY * wait + self._forecast.expect_typical(kind_of(task)) - task.seconds
            if too_long > 0:
                raise self._refuse(f"A task would wait {wait:.1f} s, too long for its {task.seconds:g} s", too_long)
        return self.turns.take(task)

    def is_full(self, open_tasks: int) -> bool:
        """Whether no task at all has room, whatever time it has."""
        return open_tasks >= self._max_running + self._max_queued

    def check_room(self, open_tasks: int) -> None:
        """Raises `Overloaded` where the queue is full."""
        if self.is_full(open_tasks):
            raise self._refuse(f"{open_tasks - self._max_running} tasks are waiting")

    def estimate_retry_seconds(self, too_long: float = 0.0) -> int:
        """Seconds until one more refused caller may try again; `too_long` is what the queue must be shorter by."""
        return self._comeback.tell_seconds(wait=too_long, held=self._forecast.expect_any())

    def _refuse(self, why: str, too_long: float = 0.0) -> Overloaded:
        seconds = self.estimate_retry_seconds(too_long)
        return Overloaded(f"{why}; try again in {seconds} s.", retry_after=seconds)

    def can_be_done(self, turn: Turn, seconds: float) -> bool:
        """Whether a task may still complete in so many seconds, as far as that is known."""
        return seconds >= self._forecast.expect_least(turn.kind)

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
        while self._queue:
            _, _, place = heapq.heappop(self._queue)
            if not place.done():
                self.queued -= 1
                place.set_result(None)
                return
        self.running -= 1
