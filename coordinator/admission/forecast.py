"""What tasks are expected to take: measured from those that ended lately, by kind, and forgotten when it is old."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from coordinator.tasks.task import Task
from shared.contracts import Status

Kind = tuple[int, tuple[str, ...]]

KINDS = 500  # that are remembered
RECENT = 32  # completed tasks of a kind, from which what one needs is taken
ENOUGH = 8  # of them, before a task is given up for lack of time
AMPLE = 0.5  # who used less of its time than this was not cut short by it
SPANS = (32, 256)  # tasks that a mean is of: a short one sees a change, a long one remembers that a few are long
SURE = 0.9  # share of tasks that complete within what is taken as their time
OLD_SECONDS = 60.0  # and twice the mean: what was measured before that tells nothing about now


def kind_of(task: Task) -> Kind:
    """Tasks of one kind have the same steps, and about the same time: an agent may take what it is given."""
    return int(task.seconds).bit_length(), tuple([step.agent or step.capability or "" for step in task.steps])


ANY_TIME = -1  # in a kind: tasks with the same steps, whatever time they have


@dataclass
class _Known:
    at: float
    held: float = 0.0  # seconds in a place: the longer of the means
    tasks: int = 0
    means: list[float] = field(default_factory=lambda: [0.0] * len(SPANS))
    needed: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))  # seconds of those that completed
    unhurried: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))  # … with ample time left

    def add(self, seconds: float, at: float) -> None:
        """One more task has held a place for so long."""
        self.tasks, self.at = self.tasks + 1, at
        self.means = [
            mean + (seconds - mean) / min(self.tasks, span) for mean, span in zip(self.means, SPANS, strict=True)
        ]
        self.held = max(self.means)


class Forecast:
    """Seconds by kind; 0 for what is not known, so that nobody is refused or given up for it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._kinds: OrderedDict[Kind, _Known] = OrderedDict()
        self._all = _Known(now())  # whatever its kind

    def learn(self, kind: Kind, status: Status, *, seconds: float, left: float) -> None:
        """A task ended that held a place for `seconds`, and had `left` seconds when it got it.

        One that failed or was cancelled can only say that places are held for longer: failures may be quick for as
        long as every agent is away, and what comes after that is not.
        """
        known = self._remember(kind)
        if not self._is_new(self._all):
            self._all = _Known(self._now())
        vain = status in (Status.FAILED, Status.CANCELLED)
        for one in (known, self._remember((ANY_TIME, kind[1])), self._all):
            if not vain or seconds > one.held:
                one.add(seconds, self._now())
        if status is Status.COMPLETED:
            known.needed.append(seconds)
            if seconds < AMPLE * left:
                known.unhurried.append(seconds)

    def expect_held(self, kind: Kind) -> float:
        """Seconds that a task of this kind will hold a place; without such a one, what those with its steps do."""
        known = self._find(kind) or self._find((ANY_TIME, kind[1]))
        return known.held if known else 0.0

    def expect_typical(self, kind: Kind) -> float:
        """Seconds within which nine of ten such tasks that complete do."""
        known = self._find(kind)
        return sorted(known.needed)[int(SURE * len(known.needed))] if known and known.needed else 0.0

    def expect_least(self, kind: Kind) -> float:
        """Seconds within which no such task completed lately; 0 before some have, without being pressed for time."""
        known = self._find(kind)
        return min(known.unhurried) if known and len(known.unhurried) >= ENOUGH else 0.0

    def expect_any(self) -> float:
        """Seconds that any task will hold a place."""
        return self._all.held if self._is_new(self._all) else 0.0

    def _find(self, kind: Kind) -> _Known | None:
        known = self._kinds.get(kind)
        return known if known is not None and self._is_new(known) else None

    def _remember(self, kind: Kind) -> _Known:
        known = self._find(kind)
        if known is None:
            known = self._kinds[kind] = _Known(self._now())
        self._kinds.move_to_end(kind)
        if len(self._kinds) > KINDS:
            self._kinds.popitem(last=False)
        return known

    def _is_new(self, known: _Known) -> bool:
        return self._now() - known.at <= OLD_SECONDS + 2 * known.held
