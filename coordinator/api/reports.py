"""The coordinator's routes for a task's report, and for its sources in their context."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Request, Response

from coordinator.api.dependencies import OpenServices, Services
from coordinator.api.report_format import RequestedForm, choose_format, written
from coordinator.api.sources import SourceView, place, view_source
from coordinator.reports.document import report
from coordinator.tasks.task import Task
from shared import rendering
from shared.contracts import Format
from shared.errors import Conflict
from shared.rendering.links import source_link
from shared.report.model import Report
from shared.server.openapi import also

router = APIRouter()
_FORMAT_OF: dict[str, Format] = {".md": "markdown", ".html": "html", ".json": "json"}


@router.get("/tasks/{task_id}/report{suffix}", tags=["tasks"], include_in_schema=False)
@router.get(
    "/tasks/{task_id}/report",
    tags=["tasks"],
    responses={200: {"model": Report} | also("text/markdown", "text/html")[200]},
)
async def get_report(
    request: Request,
    task_id: str,
    services: OpenServices,
    suffix: Literal[".md", ".html", ".json", ""] = "",
    accept: Annotated[str, Header()] = "",
) -> Response:
    """The report as Markdown, HTML or JSON, by `.md`, `.html`, `.json` or by Accept."""
    task = await _get_ended(task_id, services)
    format = _FORMAT_OF.get(suffix) or choose_format(accept) or task.format
    return await as_report(task, format, request, services, here="")


@router.get(
    "/tasks/{task_id}/sources/{number}",
    tags=["tasks"],
    response_model=SourceView,
    responses=also("text/markdown", "text/html"),
)
async def get_source(
    task_id: str,
    number: Annotated[int, Path(ge=1, le=1_000_000)],
    services: OpenServices,
    wanted: RequestedForm,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """A source of the report: the passage between what comes before and after it; HTML unless Accept says else."""
    task = await _get_ended(task_id, services)
    found = await place(task, number, services)
    format = choose_format(accept) or "html"
    if format == "json":
        return wanted.json(view_source(task, found))
    if format == "markdown":
        text = await asyncio.to_thread(rendering.passage_to_markdown, found)
    else:
        text = await asyncio.to_thread(rendering.passage_to_html, found, back="../report.html")
    return written(text, format)


async def as_report(task: Task, format: Format, request: Request, services: Services, *, here: str) -> Response:
    """The report itself as an answer. `here` leads from the request's folder to that of the task: "" or "tasks/…/".

    A page links its sources by relative addresses, which also work behind a prefix; other formats by absolute ones.
    """
    base = (services.settings.public_url or str(request.base_url)).rstrip("/")
    prefix = f"{here}sources/" if format == "html" else f"{base}/tasks/{task.id}/sources/"
    text = await asyncio.to_thread(report, task, format, source_link(prefix))
    return written(text, format, {"Location": f"/tasks/{task.id}", "Muster-Task": task.id, "Vary": "Accept"})


async def _get_ended(task_id: str, services: Services) -> Task:
    task = await services.dispatcher.get_task(task_id)
    if not task.ended:
        raise Conflict(f"Task {task_id} is {task.status}; its report is available when it has ended.")
    return task
