"""The pages of tasks: the list, one task with its waterfall and report, and what can be done to it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from coordinator.access.scopes import Scope
from coordinator.api import pagination, reports, tasks
from coordinator.api.dependencies import OpenServices, Services
from coordinator.api.report_format import AnswerForm
from coordinator.console.pages import View
from coordinator.console.showing import show
from coordinator.console.tasks.again import read_wish
from coordinator.console.tasks.view import view_task
from coordinator.console.visitor import Reader, check_token, make_key, read_form
from coordinator.journal.lookups.search import search_tasks
from shared.contracts import Status
from shared.errors import BadRequest
from shared.server.edge import traceparent

router = APIRouter(prefix="/console/tasks", include_in_schema=False)
ON_A_PAGE = 50
MOST_SEARCHED = 200  # characters
STATUSES = [status.value for status in Status if status is not Status.SKIPPED]

Text = Annotated[str, Query(max_length=MOST_SEARCHED)]


@router.get("")
async def list_tasks(
    request: Request,
    services: OpenServices,
    visitor: Reader,
    q: Text = "",
    status: Literal["", "queued", "running", "completed", "partial", "failed", "timed_out", "cancelled"] = "",
    agent: Text = "",
    after: Text = "",
) -> Response:
    """Tasks, newest first, that have every word of `q`."""
    return await show(
        request, services, visitor, lambda: _view_list(services, q=q, status=status, agent=agent, after=after)
    )


@router.get("/{task_id}")
async def get_task(
    request: Request, task_id: str, services: OpenServices, visitor: Reader, step: Text = ""
) -> Response:
    """One task; `step` is the one whose details are shown."""
    return await show(request, services, visitor, lambda: view_task(services, task_id, step))


@router.post("/{task_id}/cancel")
async def cancel_task(request: Request, task_id: str, services: OpenServices, visitor: Reader) -> Response:
    """Stops a task, and everything that works on it."""
    visitor.need(Scope.EXECUTE)
    check_token(await read_form(request), visitor.token)
    await services.dispatcher.cancel(task_id)
    return RedirectResponse(f"/console/tasks/{task_id}", 303)


@router.post("/{task_id}/rerun")
async def rerun_task(
    request: Request, task_id: str, services: OpenServices, visitor: Reader, from_step: Text | None = None
) -> Response:
    """Runs a task again and leads to the new one; the same page that asks for the same twice gets one task."""
    visitor.need(Scope.EXECUTE)
    form = await read_form(request)
    check_token(form, visitor.token)
    wish = read_wish(await services.dispatcher.get_task(task_id), form, from_step)
    digest = hashlib.sha256(f"{task_id} {wish.model_dump_json()}".encode()).hexdigest()
    task, _ = await services.dispatcher.rerun(
        task_id,
        wish,
        idempotency_key=make_key(form, digest),
        digest=digest,
        traceparent=traceparent.get(),
    )
    return RedirectResponse(f"/console/tasks/{task.id}", 303)


@router.get("/{task_id}/recording")
async def get_recording(task_id: str, services: OpenServices, visitor: Reader) -> Response:
    """What the flight recorder has kept, as a file for `muster replay`."""
    answer = await tasks.get_recording(task_id, services)
    answer.headers["Content-Disposition"] = f'attachment; filename="{task_id}.json"'
    return answer


@router.get("/{task_id}/report{suffix}")
async def get_report(
    request: Request,
    task_id: str,
    services: OpenServices,
    visitor: Reader,
    suffix: Literal[".md", ".html", ".json", ""] = "",
) -> Response:
    """The report by itself, as the API gives it, for a browser that has no key to send."""
    return await reports.get_report(request, task_id, services, suffix or ".html")


@router.get("/{task_id}/sources/{number}")
async def get_source(
    task_id: str, number: Annotated[int, Path(ge=1, le=1_000_000)], services: OpenServices, visitor: Reader
) -> Response:
    """A source of the report in its context."""
    return await reports.get_source(task_id, number, services, AnswerForm())


async def _view_list(services: Services, *, q: str, status: str, agent: str, after: str) -> View:
    before = pagination.decode_cursor(after, 2) if after else None
    try:
        at = (float(before[0]), before[1]) if before else None
    except ValueError as exc:
        raise BadRequest("This address leads to no page of the list.") from exc
    lines = await search_tasks(
        services.store, words=q.split(), status=status or None, agent=agent or None, before=at, limit=ON_A_PAGE + 1
    )
    page = lines[:ON_A_PAGE]
    asked = {name: value for name, value in (("q", q), ("status", status), ("agent", agent)) if value}
    following = pagination.cursor(repr(page[-1].created_at), page[-1].id) if len(lines) > ON_A_PAGE else ""
    values = {
        "tasks": page,
        "now": services.wall(),
        "asked": asked,
        "q": q,
        "status": status,
        "agent": agent,
        "statuses": STATUSES,
        "agents": sorted(services.agents.registry.list_names()),
        "running": services.admission.running,
        "queued": services.admission.queued,
        "newest": f"?{urlencode(asked)}" if asked else "",
        "following": f"?{urlencode(asked | {'after': following})}" if following else "",
        "is_first": at is None,
    }
    return View("tasks.html", "Tasks", "tasks", values)
