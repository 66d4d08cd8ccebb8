"""PURE: what the steps of a task have spent on delegations, by its log: for who carries it on after a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from coordinator.tasks import Task
from shared.contracts import NO_USAGE, Usage
from shared.frozen import changed

STARTED, FINISHED = "delegation.started", "delegation.finished"


def with_delegated(task: Task, log: Iterable[tuple[str, Mapping[str, Any]]]) -> Task:
    """The task with that in the usage of its open steps; `log` has types and data of its delegations' events.

    A delegation that has ended says what it has used, with all that was delegated under it; one that a kill cut off
    was a call at least.
    """
    parents: dict[str, str] = {}
    used: dict[str, Usage] = {}
    for type, data in log:
        child = data["step_id"]
        parents[child] = data["parent"]
        used[child] = Usage(calls=1) if type == STARTED else Usage.model_validate(data["usage"])
        if type == FINISHED:
            for under in [other for other in used if child in _above(other, parents)]:
                del used[under]
    spent: dict[str, Usage] = {}
    for child, usage in used.items():
        step = _above(child, parents)[-1]
        spent[step] = spent.get(step, NO_USAGE) + usage
    steps = (s if s.ended else changed(s, usage=s.usage + spent.get(s.id, NO_USAGE)) for s in task.steps)
    return changed(task, steps=tuple(steps))


def _above(child: str, parents: Mapping[str, str]) -> list[str]:
    """Who asked for a delegation, who asked for that one, and so on up to the task's own step."""
    found: list[str] = []
    while child in parents:
        child = parents[child]
        found.append(child)
    return found
