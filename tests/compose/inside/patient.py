"""An agent for tests, mounted into the image: waits as long as its input says, or takes memory until it is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from shared.agent import Agent, Context, Reply
from shared.contracts import StepRequest
from shared.worker.main import serve_worker

BLOCK = 16 * 1024 * 1024


async def run(step: StepRequest, ctx: Context) -> Reply:
    given: dict[str, Any] = step.input if isinstance(step.input, dict) else {}
    eaten = []
    while given.get("eat"):
        eaten.append(bytearray(BLOCK))
    await asyncio.sleep(given.get("seconds", 0))
    return Reply({"waited": given.get("seconds", 0)})


def agent(state_dir: Path) -> Agent:
    return Agent(name="patient", description="Waits.", capabilities=("wait",), run=run)


if __name__ == "__main__":
    serve_worker(agent)
