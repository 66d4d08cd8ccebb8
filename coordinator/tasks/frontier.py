"""Which steps of a task may start next and which never will, counted as steps end, so long plans need no search."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from coordinator.tasks.task import Step, Task, why_blocked
from shared.contracts import Status


class Frontier:
    """Knows the steps that wait, and how many of those that each needs have not ended.

    `left` is how many steps have not ended; `flawed` says whether one has ended that is not complete.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._places = {step.id: n for n, step in enumerate(steps)}
        self._users: defaultdict[str, list[str]] = defaultdict(list)
        self._unended = {step.id for step in steps if not step.ended}
        self._open = {}  # by id of a step that waits: how many of its needs have not ended
        for step in steps:
            if step.status is Status.QUEUED:
                self._open[step.id] = sum(need in self._unended for need in step.needs)
                for need in step.needs:
                    self._users[need].append(step.id)
        self._due = set(self._open)
        self.flawed = any(step.ended and _is_flawed(step) for step in steps)

    @property
    def waiting(self) -> int:
        """How many steps have neither ended nor been told as due."""
        return len(self._open)

    @property
    def left(self) -> int:
        return len(self._unended)

    def list_first(self, task: Task) -> list[Step]:
        """Steps that may start at once, as far as is known before any has; they stay due."""
        return [step for step in map(task.step, self._due) if not self._open[step.id] and not step.is_planning]

    def ended(self, step: Step) -> None:
        """A step has ended: those that need it may be due."""
        if step.id not in self._unended:
            return
        self._unended.discard(step.id)
        self._open.pop(step.id, None)
        self.flawed = self.flawed or _is_flawed(step)
        fatal = step.status is not Status.COMPLETED and step.on_failure == "fail"
        for user in self._users[step.id]:
            if user in self._open:
                self._open[user] -= 1
                if fatal or not self._open[user]:
                    self._due.add(user)

    def due(self, task: Task) -> list[tuple[Step, str | None]]:
        """Steps that may start, and with the reason those that never will; in the plan's order, each told once."""
        found: list[tuple[Step, str | None]] = []
        for id in sorted(self._due & self._open.keys(), key=self._places.__getitem__):
            step = task.step(id)
            why, open_needs = why_blocked(task, step), self._open[id]
            if open_needs and (why is None or step.needs_any):
                continue
            del self._open[id]
            found.append((step, why))
        self._due.clear()
        return found


def _is_flawed(step: Step) -> bool:
    return step.status is not Status.COMPLETED or bool(step.missing)
