"""PURE: rows of the journal as values, and values as rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json, to_json

from coordinator.tasks.task import Step, Task
from shared.contracts import Missing, Status, StepError, Usage
from shared.db.database import Row

CODE_VERSION = "0.1.0"
_PLANNED = ("id", "capability", "agent", "needs", "input", "timeout_seconds", "on_failure", "needs_any", "latest")


def json_text(value: Any) -> str:
    return to_json(value).decode()


def task_row(task: Task) -> dict[str, Any]:
    """A new task with its plan, as the parameters of `statements.ACCEPT`."""
    kept = {"context": task.context, "format": task.format, "max_calls": task.max_calls, "max_tokens": task.max_tokens}
    return {
        "id": task.id,
        "tenant": task.tenant,
        "description": task.description,
        "request": json_text(kept | {"webhook_url": task.webhook_url}),
        "priority": task.priority,
        "created_at": task.created_at,
        "deadline": task.deadline,
        "idempotency_key": task.idempotency_key,
        "request_digest": task.request_digest,
        "traceparent": task.traceparent,
        "plan": plan_text(task.steps),
        "code_version": CODE_VERSION,
    }


def plan_text(steps: Iterable[Step]) -> str:
    """Steps as they were planned, without what became of them."""
    return json_text([{name: getattr(step, name) for name in _PLANNED} for step in steps])


def step_row(task: Task, step: Step) -> dict[str, Any]:
    """A step that has ended, as the parameters of `statements.FINISH_STEP`."""
    return {
        "task_id": task.id,
        "step_id": step.id,
        "status": step.status,
        "attempt": step.attempt,
        "instance": step.instance,
        "answered_by": step.answered_by,
        "output": json_text(step.output) if step.status is Status.COMPLETED else None,
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
    seconds = round(step.finished_at - (step.started_at or step.finished_at), 6)
    data: dict[str, Any] = {"step_id": step.id, "status": step.status, "attempt": step.attempt, "seconds": seconds}
    if step.answered_by:
        data["agent"] = step.answered_by
    if step.error:
        data |= {"error": step.error.type, "why": step.error.detail}
    return "step.finished" if step.status is Status.COMPLETED else "step.failed", data


def task_from(row: Row, steps: list[Row]) -> Task:
    """A task out of its row (`statements.TASK_COLUMNS`) and those of its steps (`STEP_COLUMNS`)."""
    id, tenant, status, description, request, priority, created_at, deadline, started_at, finished_at = row[:10]
    key, digest, traceparent, plan, error = row[10:]
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
        error=_error(error),
        **from_json(request),
    )


def _step(planned: dict[str, Any], row: Row | None) -> Step:
    planned["needs"] = tuple(planned["needs"])
    if row is None:
        return Step(**planned)
    _, _, status, attempt, instance, answered_by, output, usage, missing, error, started_at, finished_at, failed = row
    if status == Status.QUEUED and not attempt:  # most steps after a restart
        return Step(**planned)
    return Step(
        **planned,
        status=Status(status),
        attempt=attempt,
        failed_attempts=failed,
        instance=instance,
        answered_by=answered_by,
        output=from_json(output) if output else None,
        usage=Usage.model_validate_json(usage) if usage else Usage(),
        missing=tuple(Missing.model_validate(m) for m in from_json(missing)) if missing else (),
        error=_error(error),
        started_at=started_at,
        finished_at=finished_at,
    )


def _error(text: str | None) -> StepError | None:
    return StepError.model_validate_json(text) if text else None
