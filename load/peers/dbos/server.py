"""DBOS on SQLite, or where DBOS_URL says: three steps as a workflow, resumed from the last one after a crash."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from dbos import DBOS, DBOSConfig, SetWorkflowID
from fastapi import FastAPI
from job import EXECUTE, TaskRequest, TaskResponse, response, step

config: DBOSConfig = {
    "name": "peer",
    "system_database_url": os.environ.get("DBOS_URL", "sqlite:///dbos.sqlite"),
    "log_level": "WARNING",
}
if os.environ.get("DBOS_TUNED"):  # what it was fastest with: few threads, connections that are not tried before use
    config |= {"max_executor_threads": 16, "sys_db_pool_size": 16, "db_engine_kwargs": {"pool_pre_ping": False}}
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
