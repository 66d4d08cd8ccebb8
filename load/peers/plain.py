"""The plain baseline: what a user would write in an hour, with FastAPI and a default httpx client, nothing durable."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel


class TaskRequest(BaseModel):
    task_description: str
    timeout_seconds: float = 30.0


class TaskResponse(BaseModel):
    task_id: str
    status: str
    result: Any
    results: list[dict[str, Any]]


def make_app(agents: str) -> FastAPI:
    """The app; `agents` is the URL of a process that serves researcher, analyzer and reporter."""

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
        task_id = uuid4().hex

        async def call(name: str, upstream: dict[str, Any]) -> dict[str, Any]:
            body = {
                "task_id": task_id,
                "step_id": name,
                "attempt": 1,
                "task_description": task.task_description,
                "upstream": upstream,
            }
            answer = await request.app.state.client.post(f"{agents}/execute", json=body, timeout=task.timeout_seconds)
            answer.raise_for_status()
            return dict(answer.json())

        try:
            research = await asyncio.gather(call("research", {}))
            upstream = {step["step_id"]: step["output"] for step in research}
            analysis = await call("analyze", upstream)
            report = await call("report", {**upstream, "analyze": analysis["output"]})
        except httpx.HTTPError as exc:
            raise HTTPException(502, str(exc)) from exc
        return TaskResponse(
            task_id=task_id, status="completed", result=report["output"], results=[*research, analysis, report]
        )

    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load.peers.plain", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument("--agents", required=True, metavar="URL", help="where the agents answer /execute")
    given = parser.parse_args()
    uvicorn.run(
        make_app(given.agents),
        port=given.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
