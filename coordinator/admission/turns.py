"""The turns of open tasks: how much work is before a new one, and when the next place is free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coordinator.admission.forecast import Forecast, Kind, kind_of
from coordinator.tasks.task import Task
from shared.contracts import Status

PRIORITIES = 10  # 0 to 9; see `TaskRequest`
LOOK_SECONDS = 0.01  # how long a look at the running tasks counts


@dataclass
class Turn:
    """One open task's. `held` is the expected seconds in a place; `began` and `ends` are monotonic, once it has one."""

    kind: Kind
    priority: int
    held: float
    waits: bool = True
    began: float = 0.0
    ends: float = 0.0
    until: float = 0.0


class Turns:
    """Every open task has one, from the moment it is accepted until it ends."""

    def __init__(self, forecast: Forecast, *, places: int, now: Callable[[], float]) -> None:
        self._forecast = forecast
        self._places = places
        self._now = now
        self._ahead = [0.0] * PRIORITIES  # expected seconds in a place of all that wait
        self._waiting = [0] * PRIORITIES
        self._running: dict[int, Turn] = {}
        self._free_at = 0.0
        self._looked: float | None = None

    def take(self, task: Task) -> Turn:
        """A turn behind those with the task's priority or a higher one."""
        kind = kind_of(task)
        turn = Turn(kind, task.priority, self._forecast.expect_held(kind))
        self._ahead[turn.priority] += turn.held
        self._waiting[turn.priority] += 1
        return turn

    def begin(self, turn: Turn, *, until: float) -> None:
        """Its task has a place now; `until` is its deadline, monotonic."""
        self._stop_waiting(turn)
        held = self._forecast.expect_held(turn.kind)
        turn.began, turn.until = self._now(), until
        turn.ends = turn.began + held if held else 0.0
        self._running[id(turn)] = turn
        self._looked = None

    def end(self, turn: Turn, status: Status) -> None:
        """Its task gives its place back, and will end with this status; nothing changes where it has not begun."""
        now = self._now()
        if self._running.pop(id(turn), None) is None:
            return
        self._looked = None
        self._forecast.learn(turn.kind, status, seconds=now - turn.began, left=turn.until - turn.began)

    def give_up(self, turn: Turn) -> None:
        """Its task ended, or was not accepted after all; nothing changes when it has had its place."""
        if turn.waits:
            self._stop_waiting(turn)

    def estimate_wait(self, priority: int) -> float:
        """Seconds until a new task has a place, where none is free now."""
        return self._estimate_free() + sum(self._ahead[priority:]) / self._places

    def _stop_waiting(self, turn: Turn) -> None:
        turn.waits = False
        self._waiting[turn.priority] -= 1
        left = self._ahead[turn.priority] - turn.held if self._waiting[turn.priority] else 0.0  # no sum of roundings
        self._ahead[turn.priority] = max(0.0, left)

    def _estimate_free(self) -> float:
        """Seconds until the first running task ends: one that is late is expected to take as long again as it is."""
        now = self._now()
        if self._looked is None or now - self._looked > LOOK_SECONDS:
            self._looked = now
            free = min((_estimate_left(turn, now) for turn in self._running.values()), default=0.0)
            self._free_at = now + max(0.0, free)
        return max(0.0, self._free_at - now)


def _estimate_left(turn: Turn, now: float) -> float:
    return min(abs(turn.ends - now), turn.until - now) if turn.ends else 0.0
