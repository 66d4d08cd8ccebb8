"""The web service in front of Dramatiq: a group of two messages, then one, each result waited for in a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from dramatiq import group
from fastapi import FastAPI
from job import TaskRequest, TaskResponse, response, step
from tasks import call


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
    limit = int(task.timeout_seconds * 1000)
    names = ("research", "analyze")
    both = group([call.message(step(task.task_id, name, task.task_description, [])) for name in names]).run()
    before = list(both.get_results(block=True, timeout=limit))
    last = call.send(step(task.task_id, "report", task.task_description, before))
    return response(task.task_id, [*before, last.get_result(block=True, timeout=limit)])
