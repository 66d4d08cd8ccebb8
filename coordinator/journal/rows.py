"""PURE: rows of the journal as values, and values as rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from pydantic_core import from_json, to_json

from coordinator.journal.packed import read_output, unpack
from coordinator.tasks.lane import NO_LANE, Lane
from coordinator.tasks.task import Rerun, Step, Task, measure_seconds
from shared.contracts import Missing, Status, StepError, Usage
from shared.db.database import Row
from shared.version import VERSION

_PLANNED = ("capability", "agent", "needs", "input", "timeout_seconds", "on_failure", "needs_any", "latest")
_ASKED = ("format", "max_calls", "max_tokens", "webhook_url")
_USUAL = {
    field.name: field.default for of in (Step, Task) for field in fields(of)
}  # not written, so these never change


def json_text(value: Any) -> str:
    return to_json(value).decode()


def make_task_row(task: Task) -> dict[str, Any]:
    """A new task with its plan, as the parameters of `sql.ACCEPT`."""
    asked = {name: json_text(value) for name in _ASKED if (value := getattr(task, name)) != _USUAL[name]}
    if task.context is not None:
        asked["context"] = task.context_json.decode()
    return {
        "id": task.id,
        "tenant": task.tenant,
        "description": task.description,
        "request": "{" + ",".join(f'"{name}":{text}' for name, text in asked.items()) + "}" if asked else None,
        "priority": task.priority,
        "created_at": task.created_at,
        "deadline": task.deadline,
        "idempotency_key": task.idempotency_key,
        "request_digest": task.request_digest,
        "traceparent": task.traceparent,
        "plan": write_plan(task.steps),
        "code_version": VERSION,
        "carrier": None,
        "lane": write_lane(task.lane),
    }


def accepted(task: Task) -> dict[str, Any]:
    """What the first event of a task tells: when it must have ended, whose it is, and what it owes an earlier one."""
    data: dict[str, Any] = {"priority": task.priority, "deadline": task.deadline}
    if (rerun := task.rerun) is not None:
        data["rerun"] = {"of": rerun.of, "from_step": rerun.from_step, "taken": dict(rerun.taken)}
    if task.lane != NO_LANE:
        data["lane"] = {"key": task.lane.key, "tenant": task.lane.tenant}
    return data


def write_lane(lane: Lane) -> str | None:
    """A lane as a server's row names it."""
    return None if lane == NO_LANE else f"{lane.key or ''}/{lane.tenant or ''}"


def read_lane(accepted: str | None) -> Lane:
    """The lane out of a task's first event."""
    return NO_LANE if accepted is None or '"lane"' not in accepted else Lane(**from_json(accepted)["lane"])


def _read_rerun(accepted: str | None) -> Rerun | None:
    if accepted is None or '"rerun"' not in accepted:
        return None
    return Rerun(**from_json(accepted)["rerun"])


def write_plan(steps: Iterable[Step]) -> str:
    """Steps as they were planned, without what became of them."""
    return json_text([{"id": step.id, **_planned(step)} for step in steps])


def _planned(step: Step) -> dict[str, Any]:
    return {name: value for name in _PLANNED if (value := getattr(step, name)) != _USUAL[name]}


def make_step_row(task: Task, step: Step) -> dict[str, Any]:
    """A step that has ended, without its output, as the parameters of `sql.FINISH_STEP`."""
    return {
        "task_id": task.id,
        "step_id": step.id,
        "status": step.status,
        "attempt": step.attempt,
        "failed": step.failed_attempts,
        "instance": step.instance,
        "answered_by": step.answered_by,
        "usage": step.usage.model_dump_json(),
        "missing": json_text([m.model_dump() for m in step.missing]) if step.missing else None,
        "error": step.error.model_dump_json() if step.error else None,
        "started_at": step.started_at,
        "finished_at": step.finished_at,
    }


def planned(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Steps as an event tells them."""
    return [{"id": s.id, "capability": s.capability, "agent": s.agent, "needs": list(s.needs)} for s in steps]


def ended(step: Step) -> tuple[str, dict[str, Any]]:
    """Type and data of the event of a step that has ended."""
    assert step.finished_at is not None
    seconds = measure_seconds(step.started_at or step.finished_at, step.finished_at)
    data: dict[str, Any] = {"step_id": step.id, "status": step.status, "attempt": step.attempt, "seconds": seconds}
    if step.answered_by:
        data["agent"] = step.answered_by
    if step.error:
        data |= {"error": step.error.type, "why": step.error.detail}
    data |= calls(step)
    return "step.finished" if step.status is Status.COMPLETED else "step.failed", data


def calls(step: Step) -> dict[str, Any]:
    """What the attempt that ended has called, as its event tells it."""
    return {"calls": [call.model_dump() for call in step.calls]} if step.calls else {}


def finished(task: Task) -> dict[str, Any]:
    """Data of the event of a task that has ended."""
    assert task.finished_at is not None
    seconds = measure_seconds(task.created_at, task.finished_at)
    data: dict[str, Any] = {"status": task.status, "seconds": seconds, "steps": len(task.steps)}
    return data | ({"webhook": True} if task.webhook_url else {})


def read_task(row: Row, steps: Sequence[Row], accepted: str | None) -> Task:
    """A task out of its row (`sql.TASK`) and, where they are not packed into it, its steps' rows and first event."""
    id, tenant, status, description, priority, created_at, deadline, started_at, finished_at, key, digest = row[:11]
    request, plan, traceparent, error, body = row[11:]
    if body is not None:
        traceparent, request, plan, error, steps, accepted = unpack(id, body)
    found = {s[1]: s for s in steps}
    return Task(
        id=id,
        tenant=tenant,
        status=Status(status),
        description=description,
        priority=priority,
        created_at=created_at,
        deadline=deadline,
        started_at=started_at,
        finished_at=finished_at,
        idempotency_key=key,
        request_digest=digest,
        traceparent=traceparent,
        steps=tuple(_step(planned, found.get(planned["id"])) for planned in from_json(plan)),
        rerun=_read_rerun(accepted),
        lane=read_lane(accepted),
        error=_error(error),
        **(from_json(request) if request else {}),
    )


def _step(planned: dict[str, Any], row: Row | None) -> Step:
    planned["needs"] = tuple(planned.get("needs", ()))
    if row is None:  # it has not begun
        return Step(**planned)
    _, _, status, attempt, failed, instance, answered_by, started_at, finished_at, output, usage, missing, error = row
    return Step(
        **planned,
        status=Status(status),
        attempt=attempt,
        failed_attempts=failed,
        instance=instance,
        answered_by=answered_by,
        output=read_output(output) if output else None,
        usage=Usage.model_validate_json(usage) if usage else Usage(),
        missing=tuple(Missing.model_validate(m) for m in from_json(missing)) if missing else (),
        error=_error(error),
        started_at=started_at,
        finished_at=finished_at,
    )


def _error(text: str | None) -> StepError | None:
    return StepError.model_validate_json(text) if text else None
