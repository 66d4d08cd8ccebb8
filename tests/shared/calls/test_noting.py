"""Calls that steps make are noted with their times, travel with the answer, and are in the events of the task."""

from __future__ import annotations

from typing import Any

import pytest

from shared.agent import Context, Reply
from shared.calls.call import MAX_CALLS
from shared.calls.noting import NOTES, Notes, note
from shared.contracts import StepRequest, StepResult, Usage
from shared.errors import ModelFailed, WorkerFault
from shared.models.model import LanguageModel
from tests.support.fakes import Suite, agent


def test_outside_a_step_nothing_is_noted() -> None:
    with note("model", "m") as cost:
        cost.usage = Usage(input_tokens=1)

    assert NOTES.get() is None


def test_calls_have_times_cost_and_error() -> None:
    """Also of what failed: what it cost stands in its error."""
    clock = [5.0]
    notes = Notes(lambda: clock[0])
    before = NOTES.set(notes)
    try:
        clock[0] = 6.0
        with note("model", "m" * 300) as cost:
            clock[0] = 8.0
            cost.usage = Usage(input_tokens=2, output_tokens=3)
        with pytest.raises(ModelFailed), note("tool", "look"):
            raise ModelFailed("No answer.", usage=Usage(input_tokens=7))
        with pytest.raises(ZeroDivisionError), note("search", "web"):
            raise ZeroDivisionError
    finally:
        NOTES.reset(before)

    first, second, third = notes.calls
    assert (first.at, first.seconds, first.tokens, first.error, len(first.name)) == (1.0, 2.0, 5, None, 200)
    assert (second.error, second.tokens, third.error) == ("No answer.", 7, "ZeroDivisionError")


def test_first_hundred_are_kept() -> None:
    notes = Notes()
    before = NOTES.set(notes)
    for n in range(MAX_CALLS + 5):
        with note("tool", str(n)):
            pass
    NOTES.reset(before)

    assert [call.name for call in notes.calls] == [str(n) for n in range(MAX_CALLS)]


@pytest.mark.parametrize(
    "calls",
    [None, 3, "x", {"a": 1}, [{"kind": "other"}], [None], [{"kind": "tool", "name": "x", "at": -1, "seconds": 1}]],
)
def test_calls_of_the_wrong_shape_cost_nothing(calls: Any) -> None:
    """A step's result counts, whatever its worker says of its calls."""
    result = StepResult.model_validate({"step_id": "a", "attempt": 1, "status": "completed", "calls": calls})

    assert (result.calls, "calls" in result.model_dump()) == ([], False)


async def test_events_tell_of_calls(suite: Suite) -> None:
    """Those of the attempt that failed with its retry, those of the one that completed with the step's end."""
    model = LanguageModel(script=["Yes."])
    failed = False

    async def run(step: StepRequest, ctx: Context) -> Reply:
        nonlocal failed
        if not failed:
            failed = True
            with note("search", "web"):
                raise WorkerFault("Nobody knows.", retryable=True)
        said, usage = await model.text(instructions="Be short.", data="Is it so?", seconds=5)
        return Reply(said, usage)

    await suite.add(agent("asker", "ask", run))
    task = await suite.execute(plan=[{"id": "a", "capability": "ask"}])

    events = {e.type: e.fields for e in await suite.services.store.events(task.task_id)}
    assert task.status == "completed"
    assert [(c["kind"], c["name"], c["error"]) for c in events["step.retried"]["calls"]] == [
        ("search", "web", "Nobody knows.")
    ]
    assert [(c["kind"], c["tokens"] > 0, "error" in c) for c in events["step.finished"]["calls"]] == [
        ("model", True, False)
    ]
