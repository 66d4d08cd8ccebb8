"""The turns of open tasks: how much work is before a new one, and when the next place is free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from coordinator.admission.forecast import Forecast, Kind, kind_of
from coordinator.admission.seat import Target
from coordinator.tasks.lane import Lane
from coordinator.tasks.task import Task
from shared.contracts import Status

PRIORITIES = 10  # 0 to 9; see `TaskRequest`
LOOK_SECONDS = 0.01  # how long a look at the running tasks counts


@dataclass(eq=False)
class _Line:
    """What waits in one lane for one target, by priority: expected seconds in a place, and how many tasks."""

    ahead: list[float] = field(default_factory=lambda: [0.0] * PRIORITIES)
    waiting: list[int] = field(default_factory=lambda: [0] * PRIORITIES)


@dataclass
class Turn:
    """One open task's. `held` is the expected seconds in a place; `began` and `ends` are monotonic, once it has one.

    `lane` is the one that it counts in.
    """

    kind: Kind
    priority: int
    held: float
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
        self._lines: dict[tuple[Lane, Target], _Line] = {}
        self._running: dict[int, Turn] = {}
        self._free_at = 0.0
        self._looked: float | None = None

    def take(self, task: Task, lane: Lane) -> Turn:
        """A turn behind those of its lane with the task's priority or a higher one."""
        kind = kind_of(task)
        turn = Turn(kind, task.priority, self._forecast.expect_held(kind), lane, _first(task))
        if (line := self._lines.get((lane, turn.target))) is None:
            line = self._lines[lane, turn.target] = _Line()
        line.ahead[turn.priority] += turn.held
        line.waiting[turn.priority] += 1
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
        for (lane, wanted), line in self._lines.items():
            if wanted != target and (share or self._share_of(wanted)):
                continue
            if lane == task.lane:
                mine += sum(line.ahead[task.priority :])
            elif any(line.waiting):
                lanes.add(lane)
                others += sum(line.ahead)
        ahead = mine + min(others, mine * (len(lanes) - 1))
        return self._estimate_free() + ahead / (share or self._places)

    def _stop_waiting(self, turn: Turn) -> None:
        at = turn.lane, turn.target
        turn.waits, line = False, self._lines[at]
        line.waiting[turn.priority] -= 1
        left = line.ahead[turn.priority] - turn.held if line.waiting[turn.priority] else 0.0  # no sum of roundings
        line.ahead[turn.priority] = max(0.0, left)
        if not any(line.waiting):
            del self._lines[at]

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
