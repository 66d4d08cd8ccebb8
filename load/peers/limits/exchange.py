"""The job itself for the limits: three exchanges with agents, two of them at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

from load.bare.client import Client


async def answer_task(agents: Client, task: dict[str, Any]) -> dict[str, Any]:
    """Carries a task and returns what its caller gets; raises OSError."""
    task_id = uuid4().hex

    async def call(step_id: str, *upstream: dict[str, Any]) -> dict[str, Any]:
        body = {
            "task_id": task_id,
            "step_id": step_id,
            "attempt": 1,
            "task_description": task["task_description"],
            "upstream": {before["step_id"]: before["output"] for before in upstream},
        }
        _, answer = await agents.request("POST", "/execute", json.dumps(body).encode())
        return dict(json.loads(answer))

    research, analysis = await asyncio.gather(call("research"), call("analyze"))
    report = await call("report", research, analysis)
    return {
        "task_id": task_id,
        "status": "completed",
        "result": report["output"],
        "results": [research, analysis, report],
    }
