"""Tasks as values: whatever happens to its steps, every plan ends, each step once, and the end says why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.tasks.frontier import Frontier
from coordinator.tasks.task import (
    ENDED,
    MOVES,
    Step,
    Task,
    last_steps,
    missing,
    move,
    outcome,
    upstream,
    why_blocked,
    with_step,
)
from shared.contracts import Missing, Status, StepError, Usage
from shared.errors import Conflict

DONE, FAILED, OVER, SKIPPED, CANCELLED = (
    Status.COMPLETED, Status.FAILED, Status.TIMED_OUT, Status.SKIPPED, Status.CANCELLED
)  # fmt: skip


def task(*steps: Step, **changes: object) -> Task:
    return replace(Task(id="t", description="?", created_at=0, deadline=10, steps=steps), **changes)


def step(id: str, status: Status = Status.QUEUED, *needs: str, **changes: object) -> Step:
    return replace(Step(id=id, capability="work", needs=needs, status=status), **changes)


@st.composite
def plans(draw: st.DrawFn) -> Task:
    """Any plan without a circle: each step needs some of those drawn before it; then shuffled."""
    count = draw(st.integers(1, 12))
    steps = []
    for i in range(count):
        needs = draw(st.lists(st.sampled_from([s.id for s in steps]), unique=True, max_size=4)) if steps else []
        on_failure = draw(st.sampled_from(["fail", "continue"]))
        steps.append(
            Step(
                id=f"s{i}", capability="work", needs=tuple(needs), on_failure=on_failure, needs_any=draw(st.booleans())
            )
        )
    return task(*draw(st.permutations(steps)))


def searched(plan: Task) -> list[tuple[Step, str | None]]:
    """What is due, looked for instead of counted."""
    found = []
    for one in (s for s in plan.steps if s.status is Status.QUEUED):
        why, waits = why_blocked(plan, one), any(not plan.step(n).ended for n in one.needs)
        if (why and not (one.needs_any and waits)) or not (why or waits):
            found.append((one, why))
    return found


def due(plan: Task) -> list[tuple[str, str | None]]:
    return [(s.id, why) for s, why in Frontier(plan.steps).due(plan)]


@given(plans(), st.data())
def test_every_plan_ends_in_order_of_its_needs(plan: Task, data: st.DataObject) -> None:
    """Every plan ends with each step ended once and never before what it needs."""
    ended: list[str] = []
    running: list[str] = []
    frontier = Frontier(plan.steps)
    for _ in range(10 * len(plan.steps)):
        due = frontier.due(plan)
        assert due == searched(plan)
        for next_, why in due:
            assert why or all(plan.step(n).ended for n in next_.needs)
            (ended if why else running).append(next_.id)
            plan = with_step(plan, replace(next_, status=SKIPPED if why else Status.RUNNING))
        for never, why in due:
            if why:
                frontier.ended(plan.step(never.id))
        assert frontier.waiting == sum(s.status is Status.QUEUED for s in plan.steps)
        if not running:
            if not due:
                break
            continue
        one = data.draw(st.sampled_from(running))
        running.remove(one)
        ended.append(one)
        status = data.draw(st.sampled_from([DONE, FAILED, OVER]))
        plan = with_step(plan, replace(plan.step(one), status=status, output=one if status is DONE else None))
        frontier.ended(plan.step(one))
        assert frontier.flawed == bool(missing(plan))

    assert frontier.left == 0
    assert sorted(ended) == sorted(s.id for s in plan.steps)
    assert all(s.ended for s in plan.steps)
    done = {s.id for s in plan.steps if s.status is DONE}
    for s in plan.steps:
        assert set(upstream(plan, s)) == set(s.needs) & done
        if s.status is DONE:
            fatal = [n for n in s.needs if plan.step(n).status is not DONE and plan.step(n).on_failure == "fail"]
            assert fatal == []
    end = move(replace(plan, status=Status.RUNNING), outcome(plan))
    assert end.ended
    assert (end.status is DONE) == (len(done) == len(plan.steps))
    assert (end.status is Status.PARTIAL) == (0 < len(done) < len(plan.steps))
    assert {m.what.partition(" ")[0] for m in missing(end)} == {s.id for s in plan.steps} - done
    assert {s.id for s in last_steps(end)} <= done


@pytest.mark.parametrize(
    ("states", "end"),
    [
        ([DONE, DONE], DONE),
        ([DONE, FAILED], Status.PARTIAL),
        ([DONE, OVER], Status.PARTIAL),
        ([DONE, SKIPPED], Status.PARTIAL),
        ([FAILED, SKIPPED], FAILED),
        ([FAILED, OVER], FAILED),
        ([OVER, SKIPPED], OVER),
        ([OVER, OVER], OVER),
        ([], OVER),
    ],
)
def test_how_a_task_ends_follows_from_its_steps(states: list[Status], end: Status) -> None:
    assert outcome(task(*(step(f"s{i}", s) for i, s in enumerate(states)))) is end


def test_what_has_ended_moves_no_more() -> None:
    for status in Status:
        here = task(status=status)
        for to in Status:
            if to in MOVES.get(status, ()):
                assert move(here, to).status is to
            else:
                with pytest.raises(Conflict):
                    move(here, to)
    assert not ENDED & set(MOVES)


def test_failed_step_stops_steps_that_need_it() -> None:
    """A failed step stops those that need it unless it may fail."""
    plan = task(step("a", FAILED), step("b", FAILED, on_failure="continue"), step("c", Status.QUEUED, "a", "b"))
    lenient = task(step("b", FAILED, on_failure="continue"), step("c", Status.QUEUED, "b"))

    assert due(plan) == [("c", "It needs 'a', which failed.")]
    assert due(lenient) == [("c", None)]


def test_step_that_needs_any_runs_with_some() -> None:
    """A step that needs any runs with what is left and not with nothing."""
    a, b = step("a", FAILED, on_failure="continue"), step("b", DONE, on_failure="continue", output=1)
    c = step("c", Status.QUEUED, "a", "b", needs_any=True)

    assert due(task(a, b, c)) == [("c", None)]
    assert upstream(task(a, b, c), c) == {"b": 1}
    assert due(task(a, replace(b, status=OVER), c)) == [("c", "All steps it needs failed: a, b.")]
    assert due(task(a, replace(b, status=Status.RUNNING), c)) == []


def test_missing_names_step_agent_and_reason_once() -> None:
    """Missing says what was asked of whom and why it is not there each once."""
    torn = Missing(what="page 2", why="It is torn.")
    refused = StepError(type="agent_refused", detail="HTTP 404")
    ended = task(
        step("a", FAILED, error=refused),
        step("b", DONE, missing=(torn,)),
        step("c", DONE, missing=(torn,)),
        replace(step("d", CANCELLED), capability=None, agent="dora"),
        status=Status.PARTIAL,
    )

    assert [(m.what, m.why) for m in missing(ended)] == [
        ("a (capability 'work')", "HTTP 404"),
        ("d (agent 'dora')", "It was cancelled."),
        ("page 2", "It is torn."),
    ]


def test_answer_without_report_is_the_unused_outputs() -> None:
    """The answer of a plan without report is what nobody used."""
    plan = task(step("a", DONE), step("b", DONE, "a"), step("c", FAILED, "b"), step("d", DONE))

    assert [s.id for s in last_steps(plan)] == ["b", "d"]


def test_a_task_has_used_what_its_steps_used() -> None:
    plan = task(step("a", DONE, usage=Usage(calls=1, input_tokens=5)), step("b", FAILED, usage=Usage(calls=3)))

    assert plan.usage == Usage(calls=4, input_tokens=5)
