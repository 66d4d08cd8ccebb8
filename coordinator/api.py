"""The coordinator's own routes: agents, tasks and their events and reports, stats."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import httpx
import structlog
from fastapi import APIRouter, Header, Query, Request, Response

from coordinator.parts import Opened, Parts
from coordinator.registry import LEASE_SECONDS, Instance
from coordinator.streams import event_stream
from coordinator.tasks import Task
from coordinator.view import report, view
from shared import bodies, sse
from shared.addresses import literal_refusal
from shared.contracts import (
    AgentStatus,
    AgentView,
    Format,
    Name,
    Registered,
    Registration,
    Status,
    TaskRequest,
    TaskView,
)
from shared.envelope import derived_key
from shared.errors import BadRequest, Conflict, Invalid, MusterError, NotFound, Unavailable
from shared.service import traceparent

router = APIRouter()
SHOWN_SECONDS = 1e-6  # times are shown rounded to this, and asked for as they were shown
LATE_SECONDS = 0.5  # after its deadline a waiting caller gets an answer whatever happens
_NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?\Z", re.ASCII)
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_FORMATS: dict[str, Format] = {"text/markdown": "markdown", "text/html": "html", "application/json": "json"}
_TYPES: dict[str, str] = {name: type for type, name in _FORMATS.items()}


class TaskFailed(MusterError):
    """The task ended `failed` or `timed_out`; the TaskView is in `task`."""

    def __init__(self, task: Task) -> None:
        seen = view(task)
        why = seen.missing[0].why if seen.missing else "Nothing was ready."
        super().__init__(f"The task {task.status.replace('_', ' ')}: {why}", task=seen.model_dump(mode="json"))
        self.type = f"task_{task.status}"
        self.title = "The task failed" if task.status is Status.FAILED else "The task's time was over"
        self.headers = {"Location": f"/tasks/{task.id}"}


# --- agents ---------------------------------------------------------------------------------------


def _body(model: type[Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


@router.post("/register_agent", tags=["agents"], openapi_extra=_body(Registration), response_model=Registered)
async def register_agent(request: Request, parts: Opened) -> Response:
    """Adds an agent (201), or takes its heartbeat (200)."""
    registration = bodies.parsed(Registration, await bodies.read(request))
    _check_address("/endpoint", registration.endpoint, private=parts.settings.private_agents)
    instance, new = await parts.agents.register(registration)
    registered = Registered(
        agent_id=instance.id,
        name=instance.name,
        status=instance.status,
        lease_seconds=LEASE_SECONDS,
        key=derived_key(parts.secret, instance.id).hex(),
    )
    return Response(registered.model_dump_json(), 201 if new else 200, media_type="application/json")


@router.get("/agents", tags=["agents"])
async def list_agents(
    parts: Opened,
    capability: str | None = None,
    status: AgentStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Every instance of every agent."""
    found = [
        i
        for i in parts.agents.registry.all()
        if (capability is None or capability in i.registration.capabilities) and (status is None or i.status is status)
    ]
    if cursor is not None:
        last = tuple(_opened_cursor(cursor, 2))
        found = [i for i in found if (i.name, i.id) > last]
    page = found[:limit]
    following = _cursor(page[-1].name, page[-1].id) if len(found) > limit else None
    return {"agents": [_agent(i, parts) for i in page], "next_cursor": following}


@router.get("/agents/{name}", tags=["agents"])
async def get_agent(name: str, parts: Opened) -> dict[str, Any]:
    """The instances of one agent."""
    found = [i for i in parts.agents.registry.all() if i.name == name]
    if not found:
        raise NotFound(f"No agent is called {name!r}.")
    return {"name": name, "instances": [_agent(i, parts) for i in found]}


@router.delete("/agents/{agent_id}", tags=["agents"])
async def remove_agent(agent_id: str, parts: Opened) -> dict[str, str]:
    """Withdraws one instance; what it is working on goes on."""
    return {"agent_id": parts.agents.remove(agent_id).id, "status": "removed"}


def _agent(instance: Instance, parts: Parts) -> AgentView:
    known = instance.registration
    return AgentView(
        agent_id=instance.id,
        name=known.name,
        instance=known.instance,
        endpoint=known.endpoint,
        capabilities=known.capabilities,
        description=known.description,
        protocol=known.protocol,
        status=instance.status,
        load=instance.load,
        max_concurrency=known.max_concurrency,
        latency_seconds=round(instance.latency, 6) if instance.latency is not None else None,
        breaker=parts.agents.breaker(instance),
        last_error=instance.last_error,
        last_seen=_utc(instance.wall_last_seen),
        version=known.version,
    )


# --- tasks ----------------------------------------------------------------------------------------


@router.post(
    "/execute_task",
    tags=["tasks"],
    openapi_extra=_body(TaskRequest),
    responses={200: {"model": TaskView}, 202: {"model": TaskView}},
)
async def execute_task(
    request: Request,
    parts: Opened,
    prefer: Annotated[str, Header()] = "",
    accept: Annotated[str, Header()] = "",
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Runs a task and waits, or answers 202 (`Prefer: respond-async`), or streams it (`Accept: text/event-stream`)."""
    wanted = bodies.parsed(TaskRequest, await bodies.read(request))
    if idempotency_key is not None and not _KEY.match(idempotency_key):
        raise BadRequest("Idempotency-Key must be 1 to 255 visible ASCII characters.")
    if wanted.webhook_url is not None:
        _check_address("/webhook_url", wanted.webhook_url, private=parts.settings.private_webhooks)
    task, _ = await parts.dispatcher.accept(
        wanted,
        idempotency_key=idempotency_key,
        digest=hashlib.sha256(wanted.model_dump_json().encode()).hexdigest() if idempotency_key else "",
        traceparent=traceparent.get(),
    )
    structlog.contextvars.bind_contextvars(task_id=task.id)
    if sse.accepted(accept):
        return _stream(task.id, parts, after=0, with_result=True)
    if "respond-async" in prefer.lower().replace(",", " ").replace(";", " ").split():
        return _json(view(task), 202, {"Location": f"/tasks/{task.id}", "Preference-Applied": "respond-async"})
    return _answer(await _waited(task, parts))


@router.get("/tasks", tags=["tasks"])
async def list_tasks(
    parts: Opened,
    status: Status | None = None,
    agent: Name | None = None,
    since: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Tasks, newest first."""
    before = _opened_cursor(cursor, 2) if cursor is not None else None
    if before and not _NUMBER.match(before[0]):
        raise BadRequest("The cursor is not one of ours.")
    at = (float(before[0]), before[1]) if before else None
    lines = await parts.store.list_tasks(
        status=status, agent=agent, since=_seconds(since) - SHOWN_SECONDS if since else None, before=at, limit=limit + 1
    )
    page = lines[:limit]
    following = _cursor(repr(page[-1].created_at), page[-1].id) if len(lines) > limit else None
    shown = [
        {
            "task_id": line.id,
            "status": line.status,
            "task_description": line.description[:200],
            "priority": line.priority,
            "created_at": _utc(line.created_at),
            "finished_at": _utc(line.finished_at),
            "duration_seconds": round(line.finished_at - line.created_at, 6) if line.finished_at else None,
        }
        for line in page
    ]
    return {"tasks": shown, "next_cursor": following}


@router.get("/tasks/{task_id}", tags=["tasks"], response_model=TaskView)
async def get_task(task_id: str, parts: Opened) -> Response:
    """One task, as far as it is."""
    return _json(view(await parts.dispatcher.task(task_id)))


@router.get("/tasks/{task_id}/events", tags=["tasks"])
async def get_events(
    task_id: str, parts: Opened, last_event_id: Annotated[int, Header(ge=0, le=2**62)] = 0
) -> Response:
    """The task's events after `Last-Event-ID`, the past first, as an event stream."""
    await parts.dispatcher.task(task_id)
    return _stream(task_id, parts, after=last_event_id)


@router.post("/tasks/{task_id}/cancel", tags=["tasks"], status_code=202, response_model=TaskView)
async def cancel_task(task_id: str, parts: Opened) -> Response:
    """Stops the task and everything that works on it."""
    return _json(view(await parts.dispatcher.cancel(task_id)), 202, {"Location": f"/tasks/{task_id}"})


@router.get("/tasks/{task_id}/report{suffix}", tags=["tasks"], include_in_schema=False)
@router.get("/tasks/{task_id}/report", tags=["tasks"])
async def get_report(
    task_id: str,
    parts: Opened,
    suffix: Literal[".md", ".html", ".json", ""] = "",
    accept: Annotated[str, Header()] = "",
) -> Response:
    """The report as Markdown, HTML or JSON, by `.md`, `.html`, `.json` or by Accept."""
    task = await parts.dispatcher.task(task_id)
    if not task.ended:
        raise Conflict(f"Task {task_id} is {task.status}; its report comes when it has ended.")
    format = _FORMAT_OF.get(suffix) or _accepted(accept) or task.format
    text = await asyncio.to_thread(report, task, format)
    return Response(text, media_type=_TYPES[format])


_FORMAT_OF: dict[str, Format] = {".md": "markdown", ".html": "html", ".json": "json"}


@router.get("/stats", tags=["service"])
async def get_stats(request: Request, parts: Opened) -> dict[str, Any]:
    """Counts since this process started."""
    now = {"running": parts.admission.running, "queued": parts.admission.queued}
    return {"uptime_seconds": parts.uptime(), **parts.stats.summary(), "now": now}


# --- how it is done -------------------------------------------------------------------------------


def _check_address(pointer: str, url: str, *, private: bool) -> None:
    refused = literal_refusal(urlsplit(url).hostname or "", private=private)
    try:
        httpx.URL(url)
    except httpx.InvalidURL as exc:
        refused = f"is no URL: {exc}"
    if refused:
        raise Invalid(f"{pointer}: {refused}", [{"pointer": pointer, "detail": refused}])


async def _waited(task: Task, parts: Parts) -> Task:
    """The task's end; raises `Unavailable` with Location when this process stops, or cannot write the end."""
    if task.ended:
        return task
    ended = asyncio.create_task(parts.dispatcher.ended(task.id))
    stop = asyncio.create_task(parts.stopping.event.wait())
    try:
        left = max(0.0, task.deadline - parts.wall()) + LATE_SECONDS
        await asyncio.wait({ended, stop}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            return ended.result()
        why = "The coordinator is stopping; the task goes on" if stop.done() else "The task's end cannot be written yet"
        raise Unavailable(f"{why}. Ask again at its Location.", location=f"/tasks/{task.id}")
    finally:
        ended.cancel()
        stop.cancel()


def _answer(task: Task) -> Response:
    if task.status in (Status.FAILED, Status.TIMED_OUT):
        raise TaskFailed(task)
    return _json(view(task), 200, {"Location": f"/tasks/{task.id}"})


def _stream(task_id: str, parts: Parts, *, after: int, with_result: bool = False) -> Response:
    return event_stream(
        task_id,
        feed=parts.feed,
        dispatcher=parts.dispatcher,
        stopping=parts.stopping,
        after=after,
        with_result=with_result,
    )


def _json(body: TaskView, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers=headers, media_type="application/json")


def _accepted(accept: str) -> Format | None:
    wanted = [part.partition(";")[0].strip() for part in accept.split(",")]
    return next((_FORMATS[kind] for kind in wanted if kind in _FORMATS), None)


def _utc(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


def _seconds(at: datetime) -> float:
    """Unix seconds, also of times that `timestamp()` cannot say; a time without a zone is UTC."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)).total_seconds()


def _cursor(*values: str) -> str:
    return base64.urlsafe_b64encode("\x00".join(values).encode()).decode()


def _opened_cursor(cursor: str, count: int) -> list[str]:
    try:
        values = base64.urlsafe_b64decode(cursor).decode().split("\x00")
    except ValueError as exc:
        raise BadRequest("The cursor is not one of ours.") from exc
    if len(values) != count:
        raise BadRequest("The cursor is not one of ours.")
    return values
