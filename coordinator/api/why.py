"""The coordinator's route that says why a task was slow, failed, partial or expensive."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from coordinator.api.answers import Why
from coordinator.api.dependencies import OpenServices
from coordinator.api.report_format import RequestedForm
from coordinator.explaining.explanation import Explanation, write_lines
from coordinator.explaining.facts import explain_task
from shared.server.openapi import also

router = APIRouter()
TEXTS = {"text/plain": "", "text/markdown": "- "}  # and what a line begins with


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
    lines = write_lines(explained)
    for kind, begins in TEXTS.items():
        if kind in accept:
            text = "".join(f"{begins}{line}\n" for line in lines)
            return Response(text, media_type=kind, headers={"X-Content-Type-Options": "nosniff", "Vary": "Accept"})
    return asked.json(_make_body(explained, lines), headers={"Vary": "Accept"})


def _make_body(explained: Explanation, lines: list[str]) -> dict[str, object]:
    task, timeline = explained.task, explained.timeline
    return {
        "task_id": task.id,
        "status": task.status,
        "seconds": round(timeline.seconds, 3),
        "causes": [
            {
                "kind": cause.kind,
                "step_id": cause.step,
                "agent": cause.agent,
                "seconds": round(cause.seconds, 3),
                "why": cause.said,
                "advice": cause.advice,
            }
            for cause in explained.causes
        ],
        "critical_path": [
            {
                "step_id": course.step.id,
                "agent": course.step.answered_by,
                "seconds": round(course.seconds, 3),
                "waiting_seconds": round(course.waited, 3),
                "lost_seconds": round(course.lost + course.cut, 3),
                "working_seconds": round(course.worked, 3),
            }
            for course in timeline.path
        ],
        "queued_seconds": round(timeline.queued, 3),
        "waiting_seconds": round(explained.waited, 3),
        "lost_seconds": round(explained.lost, 3),
        "working_seconds": round(explained.worked, 3),
        "retried_calls": explained.retried_calls,
        "delegated_calls": explained.delegated_calls,
        "usage": task.usage.model_dump(),
        "lines": lines,
    }
