"""`cli run` as somebody runs it: its services outlive a broken terminal, and do not outlive it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from load.processes.ports import free_port
from tests.support.fakes import eventually

ROOT = Path(__file__).parents[3]


def start(command: list[str], folder: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@contextlib.asynccontextmanager
async def running_suite(folder: Path) -> AsyncIterator[tuple[subprocess.Popen[bytes], list[httpx.AsyncClient]]]:
    """`cli run` with its output in a pipe, and a client for each of its four services, all of them healthy."""
    port = free_port(4)
    command = [sys.executable, "-m", "coordinator.cli", "run", "--port", str(port)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "KNOWLEDGE_DIR": str(ROOT / "docs")}
    suite = start(command, folder, env)
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port + n}", timeout=30))
            for n in range(4)
        ]

        async def healthy() -> bool:
            try:
                agents = (await clients[0].get("/agents")).json()["agents"]
            except httpx.TransportError:
                return False
            return [agent["status"] for agent in agents] == ["healthy"] * 3

        try:
            await eventually(healthy, seconds=60)
            yield suite, clients
        finally:
            suite.terminate()
            assert suite.stdout is not None
            suite.stdout.close()
            suite.wait()


async def is_gone(client: httpx.AsyncClient) -> bool:
    try:
        await client.get("/health")
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        pass
    return False


async def test_services_end_when_it_is_killed(tmp_path: Path) -> None:
    """`kill -9` of `cli run` leaves no service that holds its port."""
    async with running_suite(tmp_path) as (suite, clients):
        suite.send_signal(signal.SIGKILL)

        async def all_gone() -> bool:
            return all([await is_gone(client) for client in clients])

        await eventually(all_gone, seconds=60)


async def test_suite_works_after_its_reader_has_gone(tmp_path: Path) -> None:
    """`make run | head`: the log is lost, and tasks and requests are answered."""
    async with running_suite(tmp_path) as (suite, clients):
        assert suite.stdout is not None
        suite.stdout.close()
        for _ in range(100):
            for client in clients:
                await client.get("/nothing/" + "x" * 3_000)

        done = await clients[0].post("/execute_task", json={"task_description": "What is Muster?"})

        assert done.json()["status"] == "completed"
        assert [(await client.get("/health")).status_code for client in clients] == [200] * 4
        assert suite.poll() is None
