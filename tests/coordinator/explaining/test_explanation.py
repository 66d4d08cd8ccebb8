"""Causes of tasks that no seed plants, and how an explanation reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic_core import to_json

from coordinator.explaining.explanation import Explanation, Past, explain
from coordinator.explaining.writing import MOST_LINES, write_lines
from coordinator.journal.events import TaskEvent
from coordinator.tasks.plan import PLANNING
from coordinator.tasks.task import Step, Task
from coordinator.tasks.unfinished import end_unfinished, internal_error, quarantine_error
from shared.contracts import Missing, Status, StepError, Usage

DONE = Step(id="one", capability="work", status=Status.COMPLETED, attempt=1, started_at=0.0, finished_at=1.0)


def task(*steps: Step, status: Status = Status.COMPLETED, **more: Any) -> Task:
    ended = {"started_at": 0.0, "finished_at": max((s.finished_at or 0.0 for s in steps), default=5.0)} | more
    return Task(id="t", description="Why?", created_at=0.0, deadline=10.0, steps=steps, status=status, **ended)


def started(step_id: str, at: float, attempt: int = 1) -> TaskEvent:
    data = {"step_id": step_id, "attempt": attempt, "agent": "worker", "instance": "worker-1"}
    return TaskEvent(id=int(at * 1000), task_id="t", type="step.started", at=at, data=to_json(data).decode())


def kinds(of: Task, *events: TaskEvent, **past: Any) -> list[str]:
    return [str(cause.kind) for cause in explained(of, *events, **past).causes]


def explained(of: Task, *events: TaskEvent, **past: Any) -> Explanation:
    return explain(of, events, Past(**past), now=9.0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (quarantine_error(3), "quarantined"),
        (internal_error(ValueError()), "coordinator_broken"),
        (StepError(type="timeout", detail="The task timed out while queued."), "queue"),
    ],
)
def test_what_ended_a_whole_task(error: StepError, kind: str) -> None:
    broken = task(Step(id="one", capability="work"), status=Status.FAILED, error=error)
    status, why = end_unfinished(broken, broken.steps[0], cancelled=False)
    broken = replace(broken, steps=(replace(broken.steps[0], status=status, error=why, finished_at=5.0),))

    assert kinds(broken)[0] == kind


@pytest.mark.parametrize(
    ("why", "kind"),
    [("No plan was made. HTTP 500: boom", "planner"), ("No plan was made. The coordinator restarted.", "restart")],
)
def test_a_planner_that_failed(why: str, kind: str) -> None:
    planning = replace(DONE, id=PLANNING, capability=None, missing=(Missing(what="model", why=why),))

    assert kinds(task(planning, DONE))[0] == kind


def test_a_restart_in_the_middle() -> None:
    """An attempt that another followed, and that had not failed."""
    cut_off = task(replace(DONE, attempt=2, finished_at=4.0))

    assert kinds(cut_off, started("one", 0.0), started("one", 3.0, attempt=2)) == ["restart"]


def test_nothing_unusual_has_no_cause() -> None:
    """A cause that is none would send people the wrong way."""
    assert kinds(task(DONE), started("one", 0.0)) == []


def test_an_open_task_is_explained_so_far() -> None:
    """It has waited for a place since it came."""
    waiting = task(Step(id="one", capability="work"), status=Status.QUEUED, started_at=None, finished_at=None)

    assert kinds(waiting) == ["queue"]


def test_steps_that_fail_alike_are_one_cause() -> None:
    error = StepError(type="agent_refused", detail="HTTP 400: no")
    steps = [replace(DONE, id=f"s{n}", status=Status.FAILED, answered_by="worker", error=error) for n in range(50)]

    [cause] = explained(task(*steps, status=Status.FAILED)).causes

    assert cause.said == "Step 's0' at 'worker' failed: HTTP 400: no (49 more steps alike)"


def test_an_explanation_has_ten_lines_at_most() -> None:
    """Each of them one line, whatever agents say."""
    types = ("agent_refused", "bad_response", "model_failed", "overloaded", "agent_lost")
    failed = [
        replace(
            DONE,
            id=f"s{n}",
            status=Status.FAILED,
            answered_by=f"agent-{n}",
            error=StepError(type=type, detail="line\n" * 5_000),
            usage=Usage(calls=3, input_tokens=9),
            needs=(f"s{n - 1}",) if n else (),
            finished_at=1.0 + n,
        )
        for n, type in enumerate(types)
    ]
    skipped = [Step(id=f"k{n}", capability="work", status=Status.SKIPPED, finished_at=1.0) for n in range(900)]

    lines = write_lines(explained(task(*failed, *skipped, status=Status.FAILED)))

    assert len(lines) <= MOST_LINES
    assert [line for line in lines if "\n" in line or len(line) > 400] == []
    assert lines[1].startswith("Why: Step 's0' at 'agent-0' failed: line line")
    assert "Cost: 15 calls, 45 tokens" in lines[-1]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("a-1 failed 5 times in a row", "breaker"),
        ("a-1 is unreachable (It left 2 canaries in a row unanswered: HTTP 500: oops)", "breaker"),
        ("a-1 is unreachable (It left 2 canaries in a row unanswered: Connection refused)", "agent_away"),
        ("a-1 failed 5 times in a row; a-2 is unreachable (Connection refused)", "agent_away"),
        ("all of them have withdrawn", "agent_away"),
    ],
)
def test_an_agent_that_fails_is_not_away(said: str, kind: str) -> None:
    """One that answers with errors is there, and needs another remedy than one that is gone."""
    error = StepError(type="no_agent", detail=f"No agent for capability 'work' within 2.0 s: {said}.")

    assert kinds(task(replace(DONE, status=Status.FAILED, error=error), status=Status.FAILED)) == [kind]
