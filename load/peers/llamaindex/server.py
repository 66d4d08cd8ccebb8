"""LlamaIndex's workflows: two steps at once, then one, by events; nothing durable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from fastapi import FastAPI
from job import EXECUTE, TaskRequest, TaskResponse, response, step
from workflows import Context, Workflow
from workflows import step as workflow_step
from workflows.events import Event, StartEvent, StopEvent

sessions: list[aiohttp.ClientSession] = []


class Asked(StartEvent):
    task_id: str
    description: str


class Wanted(Event):
    body: dict[str, Any]


class Done(Event):
    task_id: str
    description: str
    answer: dict[str, Any]


async def call(body: dict[str, Any]) -> dict[str, Any]:
    async with sessions[0].post(EXECUTE, json=body, raise_for_status=True) as answer:
        return dict(await answer.json())


class Job(Workflow):
    @workflow_step
    async def begin(self, ctx: Context, asked: Asked) -> Wanted | None:
        for name in ("research", "analyze"):
            ctx.send_event(Wanted(body=step(asked.task_id, name, asked.description, [])))
        return None

    @workflow_step(num_workers=2)
    async def one(self, wanted: Wanted) -> Done:
        body = wanted.body
        return Done(task_id=body["task_id"], description=body["task_description"], answer=await call(body))

    @workflow_step
    async def report(self, ctx: Context, done: Done) -> StopEvent | None:
        both = ctx.collect_events(done, [Done, Done])
        if both is None:
            return None
        before = [each.answer for each in both]
        return StopEvent(result=[*before, await call(step(done.task_id, "report", done.description, before))])


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
    asked = Asked(task_id=task.task_id, description=task.task_description)
    return response(task.task_id, await Job(timeout=task.timeout_seconds).run(start_event=asked))
