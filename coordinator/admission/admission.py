"""Admission: which tasks are accepted, from the room for them and the time that they would wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import JsonValue
from pydantic_core import to_json

from coordinator.admission.comeback import Comeback
from coordinator.admission.forecast import Forecast, kind_of
from coordinator.admission.places import NamesOf, Places
from coordinator.admission.room import Room
from coordinator.admission.seat import Seat, Target
from coordinator.admission.turns import Turn, Turns
from coordinator.tasks.task import Task
from shared.errors import Overloaded

MAX_WEIGHT = 100_000_000  # of all open tasks: all are resumed at startup, in the 1 GB that a container has
VALUE_BYTES = 60  # of one small JSON value in memory
SAFETY = 1.5  # times the expected wait, which is an estimate; a shorter queue completes as many tasks


def weigh(task: Task) -> int:
    """About how many bytes of memory the caller's input takes."""
    inputs = sum(_measure(step.input, to_json(step.input)) for step in task.steps if step.input is not None)
    return len(task.description) + _measure(task.context, task.context_json) + inputs


def _measure(value: JsonValue, json: bytes) -> int:
    return len(json) if value is None or isinstance(value, str) else len(json) + VALUE_BYTES * json.count(b",")


class Admission:
    """A limit on the tasks that run, and on those that wait; `told_apart`: whether callers have keys of their own."""

    def __init__(
        self,
        *,
        max_running: int,
        max_queued: int,
        names_of: NamesOf,
        weight_of: Callable[[str | None], float],
        told_apart: Callable[[], bool],
        now: Callable[[], float],
        waited: Callable[[float], None],
    ) -> None:
        self._max_running = max_running
        self._most = max_running + max_queued
        self._now = now
        self._waited = waited
        self._room = Room(self._most, weight_of=weight_of, told_apart=told_apart)
        self._forecast = Forecast(now)
        self._comeback = Comeback(places=max_running, room=self._most, now=now)
        self.uncarried: Callable[[], int] = lambda: 0
        self.places = Places(max_running, names_of=names_of, weight_of=weight_of, now=now)
        self.turns = Turns(self._forecast, places=max_running, share_of=self.places.share_of, now=now)

    def admit(self, task: Task, open_tasks: int, weight: int = 0) -> Turn:
        """The task's turn, for whoever carries it; raises `Overloaded` where there is no room, or not in its time.

        `open_tasks` includes tasks that are being accepted. `weight` is that of all open tasks and the new one.
        """
        self.check_room(open_tasks)
        if weight > MAX_WEIGHT:
            why = f"The open tasks together with this one exceed {MAX_WEIGHT // 1_000_000} MB of context and input"
            raise self._refuse(why)
        if not self._room.has_room(task.lane, open_tasks):
            raise self._refuse("Too many of your own tasks are open, and the room that is left is for others")
        at_once = open_tasks < self._max_running or self.places.is_free([step.asks for step in task.steps[:1]])
        if not at_once and (wait := self.turns.estimate_wait(task)):
            too_long = wait - (task.seconds - self._forecast.expect_typical(kind_of(task))) / SAFETY
            if too_long > 0:
                raise self._refuse(f"A task would wait {wait:.1f} s, too long for its {task.seconds:g} s", too_long)
        return self.expect(task)

    def is_full(self, open_tasks: int) -> bool:
        """Whether no task at all has room, whatever time it has."""
        return open_tasks >= self._most

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

    def expect(self, task: Task) -> Turn:
        """The turn of a task that is open in any case."""
        return self.turns.take(task, self._room.take(task.lane))

    def forget(self, turn: Turn) -> None:
        """Its task has ended, or was not accepted after all: follows once on `admit` and `expect`."""
        self.turns.give_up(turn)
        self._room.give_back(turn.lane)

    def can_be_done(self, turn: Turn, seconds: float) -> bool:
        """Whether a task may still complete in so many seconds, as far as that is known."""
        return seconds >= self._forecast.expect_least(turn.kind)

    @property
    def running(self) -> int:
        """Tasks that hold a place."""
        return self.places.running

    @property
    def queued(self) -> int:
        """Tasks that wait without a place, and those accepted here that nobody carries yet."""
        return self.places.queued + self.uncarried()

    def try_enter(self, seat: Seat, targets: Sequence[Target]) -> bool:
        """Takes a place if one is free for a task that begins with steps for these targets."""
        if free := self.places.try_enter(seat, targets):
            self._waited(0.0)
        return free

    async def enter(self, seat: Seat, targets: Sequence[Target]) -> None:
        """Waits for a place. Whether or not the task gets one, `leave` follows."""
        began = self._now()
        await self.places.enter(seat, targets)
        self._waited(self._now() - began)

    def leave(self, seat: Seat) -> None:
        """The task runs no more; the next one starts."""
        self.places.leave(seat)
