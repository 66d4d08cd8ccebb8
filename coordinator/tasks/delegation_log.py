"""PURE: a task's delegations, read from its log after a restart: what they spent, and which were cut off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.tasks.task import Task
from shared.contracts import NO_USAGE, Usage
from shared.copying import changed

STARTED, FINISHED = "delegation.started", "delegation.finished"

Log = Sequence[tuple[str, Mapping[str, Any]]]  # types and data of the events of a task's delegations


def close_cut_off(log: Log) -> list[dict[str, Any]]:
    """The data with which each delegation ends that a kill cut off, the youngest first.

    It was a call at least, and has used what was delegated under it.
    """
    open: dict[str, Mapping[str, Any]] = {}
    under: defaultdict[str, Usage] = defaultdict(Usage)
    for type, data in log:
        if type == STARTED:
            open[data["step_id"]] = data
        else:
            open.pop(data["step_id"], None)
            under[data["parent"]] += Usage.model_validate(data["usage"])
    ends = []
    for child, data in reversed(open.items()):
        usage = Usage(calls=1) + under[child]
        under[data["parent"]] += usage
        ends.append({**data, "status": "cut_off", "usage": usage.model_dump()})
    return ends


def add_delegated(task: Task, log: Log) -> Task:
    """The task with what was delegated for its open steps in their usage.

    A delegation that has ended says what it has used, with all that was delegated under it.
    """
    spent: defaultdict[str, Usage] = defaultdict(lambda: NO_USAGE)
    for data in [*(data for type, data in log if type == FINISHED), *close_cut_off(log)]:
        spent[data["parent"]] += Usage.model_validate(data["usage"])
    steps = (s if s.ended else changed(s, usage=s.usage + spent[s.id]) for s in task.steps)
    return changed(task, steps=tuple(steps))
