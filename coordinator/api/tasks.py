"""The coordinator's routes for tasks, their events, and statistics."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic_core import to_json

from coordinator.access.guard import caller_of
from coordinator.admission.lane_header import lane_of
from coordinator.api import pagination
from coordinator.api.answers import Recording, Stats, TaskPage, Why
from coordinator.api.dependencies import OpenServices, Services
from coordinator.api.event_stream import event_stream
from coordinator.api.report_format import AnswerForm, RequestedForm, choose_format
from coordinator.api.reports import as_report
from coordinator.execution.waiting import TaskFailed
from coordinator.explaining.facts import explain_task
from coordinator.explaining.writing import write_body, write_lines
from coordinator.journal.lookups.outbox import find_webhook
from coordinator.reports.view import view
from coordinator.tasks.rerun import RerunRequest
from coordinator.tasks.task import Task, measure_seconds
from shared.contracts import Name, Status, TaskRequest, TaskView
from shared.errors import BadRequest, Conflict
from shared.server import bodies, sse
from shared.server.edge import traceparent
from shared.server.openapi import EventStream, also

router = APIRouter()
SHOWN_SECONDS = 1e-6  # times are shown rounded to this, and asked for as they were shown
_NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?\Z", re.ASCII)
_TEXTS = {"text/plain": "", "text/markdown": "- "}  # and what a line begins with
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")


@router.post(
    "/execute_task",
    tags=["tasks"],
    openapi_extra=bodies.describe(TaskRequest, example={"task_description": "What is a lease?"}),
    responses={
        200: {"model": TaskView} | also("text/event-stream", "text/markdown", "text/html")[200],
        202: {"model": TaskView},
    },
)
async def execute_task(
    request: Request,
    services: OpenServices,
    asked: RequestedForm,
    prefer: Annotated[str, Header()] = "",
    accept: Annotated[str, Header()] = "",
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Runs a task and waits, or answers 202 (`Prefer: respond-async`), or streams it (`Accept: text/event-stream`).

    `Accept: text/markdown` and `text/html` are answered with the report itself.
    """
    _check_key(idempotency_key)
    await services.dispatcher.check_room(idempotency_key)
    wanted = bodies.parse(TaskRequest, await bodies.read(request))
    if wanted.webhook_url is not None:
        bodies.check_address("/webhook_url", wanted.webhook_url, private=services.settings.private_webhooks)
    task, _ = await services.dispatcher.accept(
        wanted,
        idempotency_key=idempotency_key,
        digest=hashlib.sha256(wanted.model_dump_json().encode()).hexdigest() if idempotency_key else "",
        traceparent=traceparent.get(),
        lane=lane_of(caller_of(request.scope)),
    )
    return await _answer(task, request, services, asked, prefer=prefer, accept=accept)


@router.post(
    "/tasks/{task_id}/rerun",
    tags=["tasks"],
    openapi_extra=bodies.describe(RerunRequest, example={"timeout_seconds": 20}),
    responses={
        200: {"model": TaskView} | also("text/event-stream", "text/markdown", "text/html")[200],
        202: {"model": TaskView},
    },
)
async def rerun_task(
    request: Request,
    task_id: str,
    services: OpenServices,
    asked: RequestedForm,
    prefer: Annotated[str, Header()] = "",
    accept: Annotated[str, Header()] = "",
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Runs a task that has ended again, whole or from a step on, as a new task; answers as `/execute_task` does."""
    _check_key(idempotency_key)
    await services.dispatcher.check_room(idempotency_key)
    wanted = bodies.parse(RerunRequest, await bodies.read(request) or b"{}")
    said = f"{task_id} {wanted.model_dump_json()}"
    task, _ = await services.dispatcher.rerun(
        task_id,
        wanted,
        idempotency_key=idempotency_key,
        digest=hashlib.sha256(said.encode()).hexdigest() if idempotency_key else "",
        traceparent=traceparent.get(),
        lane=lane_of(caller_of(request.scope)),
    )
    return await _answer(task, request, services, asked, prefer=prefer, accept=accept)


async def _answer(
    task: Task, request: Request, services: Services, asked: AnswerForm, *, prefer: str, accept: str
) -> Response:
    """The new task as its caller wants it: at once, as it goes on, or when it has ended."""
    structlog.contextvars.bind_contextvars(task_id=task.id)
    if sse.accepts(accept):
        return event_stream(task.id, services.waiter, result=asked)
    if "respond-async" in prefer.lower().replace(",", " ").replace(";", " ").split():
        applied = {"Location": f"/tasks/{task.id}", "Preference-Applied": "respond-async"}
        return asked.json(view(task, services.waiter.base), 202, applied)
    task = await services.waiter.wait_for_end(task)
    if task.status in (Status.FAILED, Status.TIMED_OUT):
        raise TaskFailed(task, services.waiter.base, brief=asked.brief)
    format = choose_format(accept)
    if format in ("markdown", "html"):
        return await as_report(task, format, request, services, here=f"tasks/{task.id}/")
    return asked.json(view(task, services.waiter.base), headers={"Location": f"/tasks/{task.id}"})


@router.get("/tasks", tags=["tasks"], responses={200: {"model": TaskPage}})
async def get_tasks(
    services: OpenServices,
    asked: RequestedForm,
    status: Status | None = None,
    agent: Name | None = None,
    since: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> Response:
    """Tasks, newest first."""
    return asked.json(await list_tasks(services, status=status, agent=agent, since=since, limit=limit, cursor=cursor))


async def list_tasks(
    services: OpenServices,
    status: Status | None = None,
    agent: Name | None = None,
    since: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """One page of tasks, newest first. Raises `BadRequest` for a cursor that is none."""
    before = pagination.decode_cursor(cursor, 2) if cursor is not None else None
    if before and not _NUMBER.match(before[0]):
        raise BadRequest("Invalid cursor. Send the `next_cursor` of the previous page unchanged.")
    at = (float(before[0]), before[1]) if before else None
    lines = await services.store.list_tasks(
        status=status, agent=agent, since=_seconds(since) - SHOWN_SECONDS if since else None, before=at, limit=limit + 1
    )
    page = lines[:limit]
    following = pagination.cursor(repr(page[-1].created_at), page[-1].id) if len(lines) > limit else None
    shown = [
        {
            "task_id": line.id,
            "status": line.status,
            "task_description": line.description[:200],
            "priority": line.priority,
            "created_at": pagination.utc(line.created_at),
            "finished_at": pagination.utc(line.finished_at),
            "duration_seconds": measure_seconds(line.created_at, line.finished_at) if line.finished_at else None,
        }
        for line in page
    ]
    return {"tasks": shown, "next_cursor": following}


@router.get("/tasks/{task_id}", tags=["tasks"], response_model=TaskView)
async def get_task(task_id: str, services: OpenServices, asked: RequestedForm) -> Response:
    """One task, as far as it is."""
    task = await services.dispatcher.get_task(task_id)
    seen = view(task, services.waiter.base)
    if task.webhook_url is not None:
        seen.webhook = await find_webhook(services.store, task_id) or seen.webhook
    return asked.json(seen)


@router.get("/tasks/{task_id}/events", tags=["tasks"], response_class=EventStream)
async def get_events(
    task_id: str, services: OpenServices, last_event_id: Annotated[int, Header(ge=0, le=2**62)] = 0
) -> Response:
    """The task's events after `Last-Event-ID`, the past first, as an event stream."""
    await services.dispatcher.get_task(task_id)
    return event_stream(task_id, services.waiter, after=last_event_id)


@router.post("/tasks/{task_id}/cancel", tags=["tasks"], status_code=202, response_model=TaskView)
async def cancel_task(task_id: str, services: OpenServices, asked: RequestedForm) -> Response:
    """Stops the task and everything that works on it."""
    task = await services.dispatcher.cancel(task_id)
    return asked.json(view(task, services.waiter.base), 202, {"Location": f"/tasks/{task_id}"})


@router.get(
    "/tasks/{task_id}/why",
    tags=["tasks"],
    responses={200: {"model": Why} | also("text/plain", "text/markdown")[200]},
)
async def get_why(
    task_id: str, services: OpenServices, asked: RequestedForm, accept: Annotated[str, Header()] = ""
) -> Response:
    """Why the task was slow, failed, partial or expensive: JSON, or at most ten lines of text by Accept."""
    task = await services.dispatcher.get_task(task_id)
    explained = await explain_task(task, services.store, now=services.wall())
    headers = {"Vary": "Accept"}
    for kind, bullet in _TEXTS.items():
        if kind in accept:
            text = "".join(f"{bullet}{line}\n" for line in write_lines(explained))
            return Response(text, media_type=kind, headers={"X-Content-Type-Options": "nosniff", **headers})
    return asked.json(write_body(explained), headers=headers)


@router.get("/tasks/{task_id}/recording", tags=["tasks"], response_model=Recording)
async def get_recording(task_id: str, services: OpenServices) -> Response:
    """What was recorded of an ended task, for `replay`; 404 where RECORD was off."""
    from coordinator.recording.export import export

    task = await services.dispatcher.get_task(task_id)
    if not task.ended:
        raise Conflict(f"Task {task_id} is {task.status}; its recording is whole when it has ended.")
    body = to_json(await export(task, services.store))
    return Response(body, media_type="application/json", headers={"X-Content-Type-Options": "nosniff"})


@router.get("/stats", tags=["service"], response_model=None, responses={200: {"model": Stats}})
async def get_stats(request: Request, services: OpenServices) -> dict[str, Any]:
    """Counts since this process started."""
    now = {"running": services.admission.running, "queued": services.admission.queued}
    return {"uptime_seconds": services.uptime(), **services.stats.summarize(), "now": now}


# --- how it is done -------------------------------------------------------------------------------


def _check_key(key: str | None) -> None:
    if key is not None and not _KEY.match(key):
        raise BadRequest("Idempotency-Key must be 1 to 255 visible ASCII characters.")


def _seconds(at: datetime) -> float:
    """Unix seconds, also of times that `timestamp()` cannot say; a time without a zone is UTC."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)).total_seconds()
