"""The web service in front of Taskiq: sends two tasks at once and then one, and waits for each result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from broker import call, started
from fastapi import FastAPI
from job import TaskRequest, TaskResponse, response, step

CHECK_SECONDS = 0.05  # how often a result is looked for; taskiq's default is 0.2


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with started():
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/execute_task")
async def execute_task(task: TaskRequest) -> TaskResponse:
    async def done(step_id: str, *upstream: dict[str, Any]) -> dict[str, Any]:
        sent = await call.kiq(step(task.task_id, step_id, task.task_description, list(upstream)))
        result = await sent.wait_result(check_interval=CHECK_SECONDS, timeout=task.timeout_seconds)
        result.raise_for_error()
        return result.return_value

    research, analysis = await asyncio.gather(done("research"), done("analyze"))
    report = await done("report", research, analysis)
    return response(task.task_id, [research, analysis, report])
