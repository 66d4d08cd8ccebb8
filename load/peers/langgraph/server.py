"""LangGraph: two nodes at once, then one, each step checkpointed in SQLite before the next begins."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

import aiohttp
from fastapi import FastAPI, Request
from job import EXECUTE, TaskRequest, TaskResponse, response, step
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    task_id: str
    description: str
    results: Annotated[list[dict[str, Any]], operator.add]


def node(session: aiohttp.ClientSession, step_id: str) -> Callable[[State], Awaitable[dict[str, Any]]]:
    async def call(state: State) -> dict[str, Any]:
        body = step(state["task_id"], step_id, state["description"], state["results"])
        async with session.post(EXECUTE, json=body, raise_for_status=True) as answer:
            return {"results": [await answer.json()]}

    return call


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as session, AsyncSqliteSaver.from_conn_string("checkpoints.db") as saver:
        graph = StateGraph(State)
        for step_id in ("research", "analyze", "report"):
            graph.add_node(step_id, node(session, step_id))
        graph.add_edge(START, "research")
        graph.add_edge(START, "analyze")
        graph.add_edge(["research", "analyze"], "report")
        graph.add_edge("report", END)
        app.state.graph = graph.compile(checkpointer=saver)
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/execute_task")
async def execute_task(task: TaskRequest, request: Request) -> TaskResponse:
    ended = await request.app.state.graph.ainvoke(
        {"task_id": task.task_id, "description": task.task_description, "results": []},
        {"configurable": {"thread_id": task.task_id}},
        durability="sync",
    )
    return response(task.task_id, ended["results"])
