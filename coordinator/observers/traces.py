"""Tasks, their steps and calls of agents as spans: the first two out of their events, the calls as they are made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Token

import structlog

from coordinator.agents.instance import Instance
from coordinator.journal.events import TaskEvent
from coordinator.tasks.task import Task
from shared.limits.envelope import Envelope
from shared.telemetry.genai import split_endpoint
from shared.telemetry.spans import CURRENT, Attributes, Recorder, Span, begin
from shared.telemetry.trace_ids import Place, derive_span_id, derive_trace_id, read_header

WORKFLOW = "coordinator"
PROVIDER = "muster"
_BAD = ("failed", "timed_out")
_NANO = 1_000_000_000


class Traces:
    """One trace a task: that of its caller where it came with one, else the one whose id is the task's.

    The ids of a task's and a step's span follow from their names, so that a task goes on in its trace after a restart,
    and nothing of it is stored.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._open: dict[str, tuple[Place, Place | None]] = {}

    def begin(self, task: Task) -> Place:
        """The task's own span, which is known until the task ends."""
        caller = read_header(task.traceparent)
        trace_id = caller.trace_id if caller is not None else derive_trace_id(task.id)
        sampled = self._recorder.is_sampled(trace_id, caller)
        self._open[task.id] = found = Place(trace_id, derive_span_id(task.id), sampled), caller
        return found[0]

    def find_step(self, task_id: str, step_id: str) -> Place | None:
        """The span of a step of an open task."""
        found = self._open.get(task_id)
        return None if found is None else _find_step(found[0], task_id, step_id)

    def enter_step(self, place: Place) -> Token[Span | None]:
        """Makes a step's span the current one."""
        return CURRENT.set(Span("", "internal", place, None, self._recorder, {}))

    def begin_call(self, instance: Instance, envelope: Envelope, parent: Place | None) -> Span:
        """A call of an agent."""
        address, port = split_endpoint(instance.registration.endpoint)
        attributes: Attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.agent.name": instance.name,
            "gen_ai.agent.id": instance.id,
            "server.address": address,
            "server.port": port,
            "muster.task.id": envelope.task,
            "muster.step.id": envelope.step,
            "muster.attempt": envelope.attempt,
        }
        return begin(self._recorder, f"invoke_agent {instance.name}", "client", parent, attributes)

    def read(self, event: TaskEvent) -> None:
        """A reader of events: what has ended is a span."""
        if event.type in ("step.finished", "step.failed"):
            self._record_step(event)
        elif event.type == "task.finished":
            self._record_task(event)

    def _record_task(self, event: TaskEvent) -> None:
        place, caller = self._open.pop(event.task_id or "", (None, None))
        if place is None or not place.sampled:
            return
        data = event.fields
        attributes: Attributes = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.agent.name": WORKFLOW,
            "muster.task.id": event.task_id or "",
            "muster.task.status": data["status"],
            "muster.task.steps": data["steps"],
        }
        error = data["status"] if data["status"] in _BAD else None
        self._record(event, f"invoke_workflow {WORKFLOW}", place, caller, attributes, error=error)

    def _record_step(self, event: TaskEvent) -> None:
        task = self._open.get(event.task_id or "", (None, None))[0]
        if task is None or event.task_id is None or not task.sampled:
            return
        data = event.fields
        place = _find_step(task, event.task_id, data["step_id"])
        attributes: Attributes = {
            "muster.task.id": event.task_id,
            "muster.step.id": data["step_id"],
            "muster.step.status": data["status"],
            "muster.step.attempts": data["attempt"],
        }
        if data.get("agent"):
            attributes["gen_ai.agent.name"] = data["agent"]
        error = data.get("error") if data["status"] in _BAD else None
        self._record(event, f"step {data['step_id']}", place, task, attributes, error=error)

    def _record(
        self,
        event: TaskEvent,
        name: str,
        place: Place,
        parent: Place | None,
        attributes: Attributes,
        *,
        error: str | None,
    ) -> None:
        began = int((event.at - event.fields["seconds"]) * _NANO)
        span = Span(name, "internal", place, parent, self._recorder, attributes, began)
        if error is not None:
            span.fail(error)
        self._recorder.record(span, ended=int(event.at * _NANO))


def begin_trace(traces: Traces | None, task: Task) -> None:
    """Begins a task's trace, which the log lines of its carrier tell from now on: its caller's, where none is made."""
    place = read_header(task.traceparent) if traces is None else traces.begin(task)
    if place is not None:
        structlog.contextvars.bind_contextvars(trace_id=place.trace_id, span_id=place.span_id)


@contextmanager
def within_step(traces: Traces | None, task_id: str, step_id: str) -> Iterator[None]:
    """What the coordinator itself does for a step is below the step's span."""
    place = traces.find_step(task_id, step_id) if traces is not None else None
    if traces is None or place is None:
        yield
        return
    token = traces.enter_step(place)
    try:
        yield
    finally:
        CURRENT.reset(token)


def _find_step(task: Place, task_id: str, step_id: str) -> Place:
    return Place(task.trace_id, derive_span_id(task_id, step_id), task.sampled)
