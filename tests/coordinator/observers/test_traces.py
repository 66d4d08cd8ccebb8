"""Tasks and steps as spans out of their events, in the trace of the caller or of the task."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from pydantic_core import to_json

from coordinator.journal.events import TaskEvent
from coordinator.observers.traces import Traces
from coordinator.tasks.task import Task
from shared.telemetry.spans import Span, Value
from shared.telemetry.trace_ids import Place

TASK = Task(id="5d3c7a09bbe4483b8b3aebefbe4237e4", description="d", created_at=1_000.0, deadline=1_030.0)
CALLER = Place("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", True)


class Kept:
    """A recorder that keeps each span with its end, in seconds."""

    def __init__(self, *, sampled: bool = True) -> None:
        self.spans: list[tuple[Span, float]] = []
        self._sampled = sampled

    def choose_ids(self, parent: Place | None) -> tuple[str, str, bool]:
        return (parent or CALLER).trace_id, "00f067aa0ba902b7", self._sampled

    def is_sampled(self, trace_id: str, parent: Place | None) -> bool:
        return parent.sampled if parent is not None else self._sampled

    def record(self, span: Span, *, ended: int) -> None:
        self.spans.append((span, ended / 1e9))

    def enter(self, place: Place) -> AbstractContextManager[None]:
        return nullcontext()

    def measure(self, name: str, value: float, attributes: Mapping[str, Value]) -> None: ...


def event(type: str, at: float, **data: object) -> TaskEvent:
    return TaskEvent(1, TASK.id, type, at, to_json(data).decode())


def tell(traces: Traces, task: Task) -> None:
    traces.begin(task)
    step = {"step_id": "ask", "attempt": 2, "agent": "boss"}
    traces.read(event("step.finished", 1_004.0, status="completed", seconds=3.0, **step))
    step = {"step_id": "paint", "attempt": 0, "error": "no_agent", "why": "Nobody can paint."}
    traces.read(event("step.failed", 1_005.0, status="failed", seconds=1.0, **step))
    traces.read(event("task.finished", 1_006.0, status="partial", seconds=6.0, steps=2))


def test_ended_steps_and_tasks_are_spans() -> None:
    """Their beginnings are what the events tell."""
    recorder = Kept()
    tell(Traces(recorder), TASK)

    (ask, ask_end), (paint, _), (task, task_end) = recorder.spans
    assert [span.name for span in (ask, paint, task)] == ["step ask", "step paint", "invoke_workflow coordinator"]
    assert (ask.began / 1e9, ask_end, task.began / 1e9, task_end) == (1_001.0, 1_004.0, 1_000.0, 1_006.0)
    assert ask.parent == paint.parent == task.place
    assert (task.place.trace_id, task.parent, task.failed) == (TASK.id, None, False)
    assert (ask.attributes["muster.step.attempts"], ask.attributes["gen_ai.agent.name"]) == (2, "boss")
    assert (paint.failed, paint.attributes["error.type"]) == (True, "no_agent")
    assert "Nobody can paint." not in paint.attributes.values()


def test_a_callers_trace_goes_on() -> None:
    recorder = Kept()
    tell(Traces(recorder), replace(TASK, traceparent=CALLER.header))

    assert {span.place.trace_id for span, _ in recorder.spans} == {CALLER.trace_id}
    assert recorder.spans[-1][0].parent == CALLER


def test_another_process_finds_the_same_ids() -> None:
    first, second = Kept(), Kept()
    tell(Traces(first), TASK)
    tell(Traces(second), TASK)

    assert [span.place for span, _ in first.spans] == [span.place for span, _ in second.spans]


def test_what_nobody_wants_recorded_is_not() -> None:
    """Neither where the sampler says so, nor where the caller does."""
    for recorder, task in (
        (Kept(sampled=False), TASK),
        (Kept(), replace(TASK, traceparent=replace(CALLER, sampled=False).header)),
    ):
        traces = Traces(recorder)
        traces.begin(task)
        step = traces.find_step(TASK.id, "ask")
        assert step is not None
        assert step.header.endswith("-00")
        tell(traces, task)
        assert recorder.spans == []


def test_ended_tasks_are_forgotten() -> None:
    traces = Traces(Kept())
    tell(traces, TASK)

    assert traces.find_step(TASK.id, "ask") is None
