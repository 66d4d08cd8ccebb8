"""What a log of delegations says that a step has spent."""

from __future__ import annotations

from typing import Any

from coordinator.tasks.delegation_log import add_delegated, close_cut_off
from coordinator.tasks.task import Step, Task
from shared.contracts import Status, Usage

Line = tuple[str, dict[str, Any]]


def started(child: str, parent: str) -> Line:
    return "delegation.started", {"step_id": child, "parent": parent}


def finished(child: str, parent: str, calls: int) -> Line:
    return "delegation.finished", {"step_id": child, "parent": parent, "usage": {"calls": calls}}


def calls(*log: Line) -> dict[str, int]:
    done = Step(id="done", status=Status.COMPLETED, usage=Usage(calls=9))
    task = Task(id="t", description="", created_at=0.0, deadline=1.0, steps=(Step(id="a"), Step(id="b.c"), done))
    return {step.id: step.usage.calls for step in add_delegated(task, log).steps}


def test_each_generation_and_open_call_counts_once() -> None:
    """Each generation counts once and what has not ended as a call."""
    log = [
        *(started("a.1", "a"), started("a.1.1", "a.1"), started("a.1.1.1", "a.1.1"), finished("a.1.1", "a.1", 4)),
        *(started("a.2", "a"), started("a.2.1", "a.2"), finished("a.2.1", "a.2", 2), finished("a.2", "a", 5)),
        *(started("b.c.1", "b.c"), finished("b.c.1", "b.c", 3)),
        *(started("done.1", "done"), finished("done.1", "done", 3)),
    ]

    assert calls(*log) == {"a": (1 + 4) + 5, "b.c": 3, "done": 9}


def test_interrupted_calls_end_youngest_first_and_count() -> None:
    """What was cut off ends youngest first and counts as before."""
    log = [*(started(child, child[:-2]) for child in ("a.1", "a.1.1", "a.1.2", "a.2")), finished("a.1.1", "a.1", 4)]

    ends = close_cut_off(log)

    assert [(end["step_id"], end["status"], end["usage"]["calls"]) for end in ends] == [
        ("a.2", "cut_off", 1),
        ("a.1.2", "cut_off", 1),
        ("a.1", "cut_off", 1 + 4 + 1),
    ]
    after = [*log, *(("delegation.finished", end) for end in ends)]
    assert close_cut_off(after) == []
    assert calls(*after) == calls(*log) == {"a": 7, "b.c": 0, "done": 9}
