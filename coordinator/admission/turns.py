"""The turns of open tasks: how much work is before a new one, and when the next place is free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coordinator.admission.forecast import Forecast, Kind, kind_of
from coordinator.admission.seat import Target
from coordinator.tasks.lane import Lane
from coordinator.tasks.task import Task
from shared.contracts import Status

PRIORITIES = 10  # 0 to 9; see `TaskRequest`
LOOK_SECONDS = 0.01  # how long a look at the running tasks counts


@dataclass
class Turn:
    """One open task's. `lane` is the one that it counts in; the times are monotonic, and 0 before it begins."""

    kind: Kind
    priority: int
    lane: Lane
    target: Target
    waits: bool = True
    began: float = 0.0
    ends: float = 0.0
    until: float = 0.0


class Turns:
    """Every open task has one, from the moment it is accepted until it ends."""

    def __init__(
        self,
        forecast: Forecast,
        *,
        places: int,
        share_of: Callable[[Target], int],
        now: Callable[[], float],
    ) -> None:
        self._forecast = forecast
        self._places = places
        self._now = now
        self._share_of = share_of
        self._waiting: dict[tuple[Lane, Target, Kind], list[int]] = {}  # tasks by priority
        self._running: dict[int, Turn] = {}
        self._free_at = 0.0
        self._looked: float | None = None

    def take(self, task: Task, lane: Lane) -> Turn:
        """A turn behind those of its lane with the task's priority or a higher one."""
        turn = Turn(kind_of(task), task.priority, lane, _first(task))
        self._waiting.setdefault((lane, turn.target, turn.kind), [0] * PRIORITIES)[turn.priority] += 1
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

    def estimate_wait(self, task: Task) -> float:
        """Seconds until a new task has a place, where none is free now.

        Lanes take turns, so others add as much as its own lane has before it, or all that they have. What waits for
        an agent that has all it may have is before those only who want the same one, and need its places.
        """
        target, mine, others, lanes = _first(task), 0.0, 0.0, {task.lane}
        share = self._share_of(target)
        for (lane, wanted, kind), tasks in self._waiting.items():
            if wanted != target and (share or self._share_of(wanted)):
                continue
            held = self._forecast.expect_held(kind)
            if lane == task.lane:
                mine += held * sum(tasks[task.priority :])
            else:
                lanes.add(lane)
                others += held * sum(tasks)
        ahead = mine + min(others, mine * (len(lanes) - 1))
        return self._estimate_free() + ahead / (share or self._places)

    def _stop_waiting(self, turn: Turn) -> None:
        at = turn.lane, turn.target, turn.kind
        turn.waits, tasks = False, self._waiting[at]
        tasks[turn.priority] -= 1
        if not any(tasks):
            del self._waiting[at]

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


def _first(task: Task) -> Target:
    """What the task begins with, as far as its plan says before it starts."""
    return task.steps[0].asks if task.steps else (None, None)
