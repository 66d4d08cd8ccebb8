"""How long a coordinator takes to start."""

from __future__ import annotations

import asyncio

from load.processes.ports import free_port
from load.processes.stage import Stage


async def measure_start(stage: Stage, database_url: str) -> float:
    """Seconds until a coordinator with this journal is ready; it is ended then."""
    port = free_port()
    env = {"DATABASE_URL": database_url, "LOG_LEVEL": "WARNING"}
    coordinator = stage.start("coordinator", "--port", str(port), env=env)
    seconds = await asyncio.to_thread(stage.wait, coordinator, f"http://127.0.0.1:{port}/ready")
    await asyncio.to_thread(stage.end, coordinator)
    return seconds
