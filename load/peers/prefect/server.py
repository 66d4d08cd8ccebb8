"""Prefect: a flow of three tasks, two of them at once, their states and results kept by a Prefect server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from fastapi import FastAPI
from job import EXECUTE, TaskRequest, TaskResponse, response, step
from prefect import flow, task

sessions: list[aiohttp.ClientSession] = []


@task
async def call(body: dict[str, Any]) -> dict[str, Any]:
    async with sessions[0].post(EXECUTE, json=body, raise_for_status=True) as answer:
        return dict(await answer.json())


@flow
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
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/execute_task")
async def execute_task(task: TaskRequest) -> TaskResponse:
    return response(task.task_id, await execute(task.task_id, task.task_description))
