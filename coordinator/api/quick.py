"""The short way to `POST /execute_task`: FastAPI's look at the signature took a tenth of a task's processor time."""

from __future__ import annotations

from fastapi import Request, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from coordinator.api.dependencies import get_services
from coordinator.api.report_format import AnswerForm, is_typed
from coordinator.api.tasks import execute_task

PATH = "/execute_task"


class Quick(Route):
    """Takes what has no query, and does what FastAPI's own route does, which OpenAPI shows and which takes the rest."""

    def __init__(self) -> None:
        super().__init__(PATH, _execute, methods=["POST"], include_in_schema=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        mine = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == PATH
        if mine and not scope["query_string"]:
            return Match.FULL, {"endpoint": self.endpoint, "path_params": {}}
        return Match.NONE, {}


async def _execute(request: Request) -> Response:
    headers = request.headers
    return await execute_task(
        request,
        await get_services(request),
        AnswerForm(pretty=is_typed(headers.get("user-agent", ""))),
        prefer=headers.get("prefer", ""),
        accept=headers.get("accept", ""),
        idempotency_key=headers.get("idempotency-key"),
    )
