"""The plain baseline with aiohttp's client instead of httpx's, nothing durable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from fastapi import FastAPI, HTTPException, Request
from job import EXECUTE, TaskRequest, TaskResponse, response, step


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as app.state.session:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/execute_task")
async def execute_task(task: TaskRequest, request: Request) -> TaskResponse:
    limit = aiohttp.ClientTimeout(total=task.timeout_seconds)

    async def call(step_id: str, *upstream: dict[str, Any]) -> dict[str, Any]:
        body = step(task.task_id, step_id, task.task_description, list(upstream))
        async with request.app.state.session.post(EXECUTE, json=body, timeout=limit, raise_for_status=True) as answer:
            return dict(await answer.json())

    try:
        research, analysis = await asyncio.gather(call("research"), call("analyze"))
        report = await call("report", research, analysis)
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise HTTPException(502, str(exc)) from exc
    return response(task.task_id, [research, analysis, report])
