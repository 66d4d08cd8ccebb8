"""The job that every peer does: what it is asked, what an agent is sent, what it answers."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, Field

AGENTS = os.environ.get("AGENTS", "http://127.0.0.1:9000")
EXECUTE = f"{AGENTS}/execute"


class TaskRequest(BaseModel):
    task_id: str = Field(default_factory=lambda: uuid4().hex)
    task_description: str
    timeout_seconds: float = 30.0


class TaskResponse(BaseModel):
    task_id: str
    status: str
    result: Any
    results: list[dict[str, Any]]


def step(task_id: str, step_id: str, description: str, upstream: list[dict[str, Any]]) -> dict[str, Any]:
    """The body for one agent; `upstream` are the answers of the steps before it."""
    return {
        "task_id": task_id,
        "step_id": step_id,
        "attempt": 1,
        "task_description": description,
        "upstream": {before["step_id"]: before["output"] for before in upstream},
    }


def response(task_id: str, results: list[dict[str, Any]]) -> TaskResponse:
    """What the caller gets; the last result is the report."""
    return TaskResponse(task_id=task_id, status="completed", result=results[-1]["output"], results=results)
