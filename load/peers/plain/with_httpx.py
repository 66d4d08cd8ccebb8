"""The plain baseline: what a user would write in an hour, with FastAPI and a default httpx client, nothing durable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException, Request
from job import EXECUTE, TaskRequest, TaskResponse, response, step


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient() as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/execute_task")
async def execute_task(task: TaskRequest, request: Request) -> TaskResponse:
    async def call(step_id: str, *upstream: dict[str, Any]) -> dict[str, Any]:
        body = step(task.task_id, step_id, task.task_description, list(upstream))
        answer = await request.app.state.client.post(EXECUTE, json=body, timeout=task.timeout_seconds)
        answer.raise_for_status()
        return dict(answer.json())

    try:
        research, analysis = await asyncio.gather(call("research"), call("analyze"))
        report = await call("report", research, analysis)
    except httpx.HTTPError as exc:
        raise HTTPException(502, str(exc)) from exc
    return response(task.task_id, [research, analysis, report])
