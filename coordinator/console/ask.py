"""The first page: a question is asked here, and the latest tasks are below."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from secrets import token_urlsafe
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from coordinator.access.scopes import Scope
from coordinator.api.dependencies import OpenServices, Services
from coordinator.console import uploads
from coordinator.console.pages import View, render_page
from coordinator.console.showing import show
from coordinator.console.visitor import Reader, check_token, make_key, read_form
from shared.contracts import AgentStatus, TaskRequest
from shared.errors import BadRequest, MusterError
from shared.server import bodies, sse
from shared.server.edge import traceparent

router = APIRouter(prefix="/console", include_in_schema=False)
LATEST = 8  # tasks
FIELDS = ("task_description", "timeout_seconds", "priority", "agent")
EXAMPLE = "What is a lease, and how long does it last?"


@router.get("/")
async def get_ask(request: Request, services: OpenServices, visitor: Reader, like: str = "") -> Response:
    """The form, filled as for the task `like` if there is one, and what was asked last."""
    form: dict[str, str] = {}
    if like and not sse.accepts(request.headers.get("accept")):
        task = await services.dispatcher.get_task(like)
        form = {"task_description": task.description, "timeout_seconds": f"{task.seconds:g}"}
    return await show(request, services, visitor, lambda: _view(services, form))


@router.post("/ask")
async def ask(request: Request, services: OpenServices, visitor: Reader) -> Response:
    """Begins a task and leads to its page; the same form that is sent twice is one task."""
    visitor.need(Scope.EXECUTE)
    form = await read_form(request)
    check_token(form, visitor.token)
    try:
        wanted = _read(form)
        digest = hashlib.sha256(wanted.model_dump_json().encode()).hexdigest()
        task, _ = await services.dispatcher.accept(
            wanted,
            idempotency_key=make_key(form, digest),
            digest=digest,
            traceparent=traceparent.get(),
        )
    except MusterError as error:
        view = await _view(services, form, wrong=error.detail)
        return render_page(view, visitor, base=services.settings.base_path, status=error.status)
    return RedirectResponse(f"/console/tasks/{task.id}", 303)


def _read(form: Mapping[str, str]) -> TaskRequest:
    """Raises `Invalid`."""
    description, seconds, priority, agent = (form.get(name, "") for name in FIELDS)
    body: dict[str, Any] = {"task_description": description}
    try:
        if seconds:
            body["timeout_seconds"] = float(seconds)
        if priority:
            body["priority"] = int(priority)
        if agent:
            body["agents"] = [agent]
        return TaskRequest.model_validate(body)
    except ValidationError as exc:
        raise bodies.make_invalid(exc) from exc
    except ValueError as exc:
        raise BadRequest("Seconds and priority are numbers.") from exc


async def _view(services: Services, form: Mapping[str, str], *, wrong: str = "") -> View:
    known = services.agents.registry.list_all()
    values = {
        "form": dict.fromkeys(FIELDS, "") | dict(form),
        "wrong": wrong,
        "once": token_urlsafe(16),
        "example": EXAMPLE,
        "seconds": services.settings.request_timeout,
        "agents": sorted({i.name for i in known}),
        "healthy": sum(i.status is AgentStatus.HEALTHY for i in known),
        "known": len(known),
        "running": services.admission.running,
        "queued": services.admission.queued,
        "uploads": await uploads.look(services),
        "tasks": await services.store.list_tasks(limit=LATEST),
        "now": services.wall(),
    }
    return View("ask.html", "Ask", "", values)
