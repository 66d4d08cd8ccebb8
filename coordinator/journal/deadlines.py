"""When open tasks are due at a start: by the clock of the boot that accepted them, or else by the wall clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from coordinator.journal import sql
from coordinator.journal.clocks import MARK, Boot, SettledClock
from coordinator.journal.store import Store
from coordinator.tasks.task import Task
from shared import logs


class Deadlines:
    """Tells a wall clock that has jumped from an outage."""

    def __init__(self, store: Store, *, boot: Boot | None, clock: SettledClock) -> None:
        self._store = store
        self._boot = boot
        self._clock = clock

    async def measure_left(self, tasks: Sequence[Task]) -> Mapping[str, float]:
        """Seconds that each task has left, by its id: at most its whole time, negative for one that is late.

        The log says for how many of them the wall clock counts, and why.
        """
        accepted = await self._store.read(sql.OPEN_ACCEPTED)
        marks = {task_id: from_json(data).get(MARK) for task_id, data in accepted}
        left, unknown = dict[str, float](), Counter[str]()
        for task in tasks:
            due, why = self._find_due(marks.get(task.id))
            if due is None:
                unknown[why] += 1
                left[task.id] = min(task.seconds, task.deadline - self._clock.read_unmoved())
            else:
                left[task.id] = min(task.seconds, due)
        for why, count in unknown.items():
            logs.get().warning("tasks.timed_by_wall_clock", tasks=count, why=why)
        return left

    def _find_due(self, mark: Any) -> tuple[float | None, str]:
        """In how many seconds, or why that is not known."""
        if self._boot is None:
            return None, "This system has no boot id."
        if mark is None:
            return None, "They were accepted by an earlier version, or on a system without a boot id."
        boot, due = mark
        if boot != self._boot.id:
            return None, "They were accepted before the machine was booted, or on another machine."
        return due - self._boot.read(), ""
