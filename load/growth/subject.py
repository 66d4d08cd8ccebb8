"""A coordinator with agents that do nothing, and what tasks cost it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load.agents.noop import ROLES
from load.bare.client import Client
from load.processes.ports import free_port
from load.processes.services import wait_for_agents
from load.processes.stage import Stage
from load.processes.usage import read_thread_cpu_seconds

MEASURED, LOADING = 0, 1  # cores
TIMEOUT_SECONDS = 600.0
REQUESTS_AT_ONCE = 32


class SizeRefused(Exception):
    """The coordinator does not take tasks of this size; the message is its reason."""


@dataclass
class Subject:
    """`http` reaches the coordinator, `agents` the agents."""

    process: subprocess.Popen[bytes]
    url: str
    agents_url: str
    http: Client
    agents: Client

    async def measure_cost(self, tasks: int, *, at_once: int, more: Mapping[str, Any] | None = None) -> float:
        """Milliseconds of the coordinator's processor time a task; raises `SizeRefused` for a 422."""
        body = json.dumps(build_request(more)).encode()
        before = self.read_cpu_seconds()
        await self.send_all([body] * tasks, at_once=at_once, expected=200)
        return 1000 * (self.read_cpu_seconds() - before) / tasks

    def read_cpu_seconds(self) -> float:
        """Seconds of processor time that the coordinator has used."""
        return read_thread_cpu_seconds(self.process.pid)

    async def send_all(
        self, bodies: list[bytes], *, at_once: int, expected: int, headers: Mapping[str, str] | None = None
    ) -> None:
        """Sends them all, so many at once; raises `SizeRefused` for a 422, RuntimeError for anything but `expected`."""
        waiting = iter(bodies)

        async def keep_calling() -> None:
            for body in waiting:
                status, said = await self.http.request("POST", "/execute_task", body, headers)
                if status == 422:
                    raise SizeRefused(json.loads(said).get("detail", "422"))
                if status != expected or (status == 200 and json.loads(said)["status"] != "completed"):
                    raise RuntimeError(f"HTTP {status}: {said[:300].decode(errors='replace')}")

        callers = [asyncio.create_task(keep_calling(), name=f"caller-{n}") for n in range(min(at_once, len(bodies)))]
        try:
            await asyncio.gather(*callers)
        finally:
            for one in callers:
                one.cancel()

    async def list_ended(self) -> list[str]:
        """The ids of the tasks that have ended, newest first, as the first page of the list names them."""
        _, said = await self.http.request("GET", "/tasks?status=completed&limit=100")
        return [task["task_id"] for task in json.loads(said)["tasks"]]

    async def count_open_tasks(self) -> int:
        """Tasks that run or wait."""
        _, said = await self.http.request("GET", "/stats")
        now = json.loads(said)["now"]
        return int(now["running"] + now["queued"])

    async def set_delay(self, milliseconds: float) -> None:
        """Lets every step take so long from now on; steps that were held go on with it."""
        await self.agents.request("PUT", "/delay", str(milliseconds).encode())


def build_request(more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"task_description": "How do the tides work?", "timeout_seconds": TIMEOUT_SECONDS, **(more or {})}


@contextlib.asynccontextmanager
async def start(
    stage: Stage, *, journal: Path | None = None, env: Mapping[str, str] | None = None, hang: bool = False
) -> AsyncIterator[Subject]:
    """Ready, its three agents registered and healthy; ended after the block. `journal` is the file of its tasks."""
    port, agents_port = free_port(), free_port()
    url, agents_url = (f"http://127.0.0.1:{number}" for number in (port, agents_port))
    path = journal or stage.folder / f"muster-{port}.db"
    settings = {"DATABASE_URL": f"sqlite:///{path}", "LOG_LEVEL": "WARNING", **(env or {})}
    coordinator = stage.start("coordinator", "--port", str(port), env=settings, core=MEASURED)
    await asyncio.to_thread(stage.wait, coordinator, f"{url}/ready", seconds=120)
    more = ("--hang",) if hang else ()
    agents = stage.start("load.noop_agent", "--port", str(agents_port), "--register", url, *more, core=LOADING)
    try:
        await asyncio.to_thread(wait_for_agents, url, *ROLES)
        async with Client(f"127.0.0.1:{port}") as http, Client(f"127.0.0.1:{agents_port}") as to_agents:
            yield Subject(coordinator, url, agents_url, http, to_agents)
    finally:
        await asyncio.to_thread(stage.end, agents)
        await asyncio.to_thread(stage.end, coordinator)
