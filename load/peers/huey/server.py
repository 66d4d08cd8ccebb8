"""The web service in front of Huey: starts a chord and waits for its result in a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI
from job import TaskRequest, TaskResponse, response
from tasks import start


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = 128
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/execute_task")
def execute_task(task: TaskRequest) -> TaskResponse:
    results = start(task.task_id, task.task_description).get(blocking=True, timeout=task.timeout_seconds)
    return response(task.task_id, results)
