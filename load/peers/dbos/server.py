"""DBOS on SQLite: a workflow of three steps, two of them at once, resumed from the last step after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from dbos import DBOS, DBOSConfig, SetWorkflowID
from fastapi import FastAPI
from job import EXECUTE, TaskRequest, TaskResponse, response, step

config: DBOSConfig = {"name": "peer", "system_database_url": "sqlite:///dbos.sqlite", "log_level": "WARNING"}
DBOS(config=config)
sessions: list[aiohttp.ClientSession] = []


@DBOS.step()
async def call(body: dict[str, Any]) -> dict[str, Any]:
    async with sessions[0].post(EXECUTE, json=body, raise_for_status=True) as answer:
        return dict(await answer.json())


@DBOS.workflow()
async def execute(task_id: str, description: str) -> list[dict[str, Any]]:
    research, analysis = await asyncio.gather(
        call(step(task_id, "research", description, [])), call(step(task_id, "analyze", description, []))
    )
    report = await call(step(task_id, "report", description, [research, analysis]))
    return [research, analysis, report]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as session:
        sessions.append(session)
        DBOS.launch()
        yield
        DBOS.destroy()


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/execute_task")
async def execute_task(task: TaskRequest) -> TaskResponse:
    with SetWorkflowID(task.task_id):
        results = await execute(task.task_id, task.task_description)
    return response(task.task_id, results)
