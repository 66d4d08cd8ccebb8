"""PURE: what the steps of a task have spent on delegations, by its log: for who carries it on after a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from coordinator.tasks import Task
from shared.contracts import NO_USAGE, Usage
from shared.frozen import changed

STARTED = "delegation.started"


def with_delegated(task: Task, log: Iterable[tuple[str, Mapping[str, Any]]]) -> Task:
    """The task with that in the usage of its open steps; `log` has types and data of its delegations' events.

    A delegation that has ended says what it has used, with all that was delegated under it; one that a kill cut off
    was a call at least.
    """
    parents: dict[str, str] = {}
    children: dict[str, list[str]] = {}
    used: dict[str, Usage] = {}
    for type, data in log:
        child = data["step_id"]
        if type == STARTED:
            parents[child] = data["parent"]
            children.setdefault(data["parent"], []).append(child)
            used[child] = Usage(calls=1)
            continue
        used[child] = Usage.model_validate(data["usage"])
        under = children.pop(child, [])
        while under:
            counted = under.pop()
            used.pop(counted, None)
            under += children.pop(counted, [])
    spent: dict[str, Usage] = {}
    for child, usage in used.items():
        step = _asked_by(child, parents)
        spent[step] = spent.get(step, NO_USAGE) + usage
    steps = (s if s.ended else changed(s, usage=s.usage + spent.get(s.id, NO_USAGE)) for s in task.steps)
    return changed(task, steps=tuple(steps))


def _asked_by(child: str, parents: Mapping[str, str]) -> str:
    """The step of the task's own that stands above a delegation."""
    while child in parents:
        child = parents[child]
    return child
