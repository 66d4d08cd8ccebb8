"""Which steps a re-run takes over, and which it runs again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coordinator.tasks.plan import PLANNING
from coordinator.tasks.rerun import RerunRequest, rerun
from coordinator.tasks.task import Rerun, Step, Task
from shared.contracts import Status
from shared.errors import Conflict, Invalid

PLAN = (
    Step(id="a", capability="work"),
    Step(id="b", capability="work"),
    Step(id="ab", agent="joiner", needs=("a", "b"), on_failure="continue", needs_any=True, latest=0.8),
    Step(id="end", capability="report", needs=("ab",), timeout_seconds=4.0, input={"format": "html"}),
)


def parent(*failed: str, steps: tuple[Step, ...] = PLAN, **more: Any) -> Task:
    """A task that has ended, in which some steps failed and the others completed."""
    done = tuple(
        replace(s, status=Status.FAILED if s.id in failed else Status.COMPLETED, output=f"of {s.id}", attempt=2)
        for s in steps
    )
    return Task(id="old", description="Why?", created_at=0, deadline=9, status=Status.PARTIAL, steps=done, **more)


def taken(task: Task, known: tuple[str, ...] = ("joiner",), **wish: Any) -> set[str]:
    steps, owed = rerun(task, RerunRequest(**wish), known_agents=known)
    assert {s.id for s in steps if s.status is Status.COMPLETED} == set(owed.taken)
    assert {(s.output, s.attempt) for s in steps if s.id not in owed.taken} == {(None, 0)}
    return set(owed.taken)


@pytest.mark.parametrize(
    ("failed", "wish", "expected"),
    [
        ((), {}, set()),
        ((), {"from_step": "a"}, {"b"}),
        ((), {"from_step": "ab"}, {"a", "b"}),
        ((), {"from_step": "end"}, {"a", "b", "ab"}),
        (("b",), {"from_step": "end"}, {"a"}),
        ((), {"from_step": "end", "inputs": {"a": 1}}, {"b"}),
        ((), {"inputs": {"end": 1}}, set()),
        (("a", "b", "ab", "end"), {"from_step": "end"}, set()),
    ],
)
def test_finished_steps_before_the_point_are_taken(failed: Any, wish: Any, expected: set[str]) -> None:
    """What failed, what changes and all that needs one of these runs again."""
    assert taken(parent(*failed), **wish) == expected


def test_steps_run_again_as_they_were_planned() -> None:
    steps, _ = rerun(parent(), RerunRequest(inputs={"a": [1]}), known_agents=["joiner"])

    assert steps == (replace(PLAN[0], input=[1]), *PLAN[1:])


def test_a_child_of_a_child_names_who_ran_it() -> None:
    """Not only the task that it was taken over from."""
    child = parent(rerun=Rerun(of="older", taken={"a": "oldest"}))

    _, owed = rerun(child, RerunRequest(from_step="end"), known_agents=["joiner"])

    assert (owed.of, owed.taken) == ("old", {"a": "oldest", "b": "old", "ab": "old"})


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"from_step": "c"}, "/from_step: there is no step 'c' in task old"),
        ({"inputs": {"c": 1}}, "/inputs/c: there is no step 'c' in task old"),
        ({}, "/from_step: agent 'joiner' of step 'ab' is no longer registered"),
    ],
)
def test_what_cannot_run_again_is_refused(wish: Any, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        rerun(parent(), RerunRequest(**wish), known_agents=[])

    assert refused.value.detail == said


def test_an_agent_that_is_gone_is_not_missed() -> None:
    """Where its step is taken over."""
    assert taken(parent(), known=(), from_step="end") == {"a", "b", "ab"}


def test_a_task_that_runs_is_refused() -> None:
    with pytest.raises(Conflict, match="Task old is running; it can be run again when it has ended"):
        rerun(replace(parent(), status=Status.RUNNING), RerunRequest(), known_agents=["joiner"])


def test_a_model_plans_a_whole_task_again() -> None:
    """And its plan is kept where only a part runs again."""
    planned = parent(steps=(Step(id=PLANNING), *PLAN))

    whole, _ = rerun(planned, RerunRequest(), known_agents=["joiner"])

    assert [s.id for s in whole] == [PLANNING, "research", "analyze", "report"]
    assert taken(planned, from_step="end") == {PLANNING, "a", "b", "ab"}
    for wish, said in (({"inputs": {"a": 1}}, "plans the steps again"), ({"inputs": {PLANNING: 1}}, "no input")):
        with pytest.raises(Invalid, match=said):
            rerun(planned, RerunRequest(**wish), known_agents=["joiner"])


def test_a_chain_of_a_thousand_steps_runs_again() -> None:
    chain = tuple(Step(id=f"s{n}", capability="work", needs=(f"s{n + 1}",) if n < 999 else ()) for n in range(1_000))

    assert taken(parent(steps=chain), from_step="s999") == set()
