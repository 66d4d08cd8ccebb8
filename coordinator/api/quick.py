"""The short ways to what is asked most: `POST /execute_task`, and the heartbeats."""

from __future__ import annotations

from fastapi import Request, Response

from coordinator.api.agents import register_agent
from coordinator.api.dependencies import get_services
from coordinator.api.report_format import AnswerForm, is_typed
from coordinator.api.tasks import execute_task
from shared.server.app import Quick


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


async def _register(request: Request) -> Response:
    return await register_agent(request, await get_services(request))


QUICK = (Quick("POST", "/execute_task", _execute), Quick("POST", "/register_agent", _register))
