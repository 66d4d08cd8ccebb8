"""A process that may open 128 descriptors, and more callers than that: each gets an answer, and no agent the blame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.processes import Agents, Coordinator

CALLERS = 300
LIMITED = ("sh", "-c", 'ulimit -n 128; exec "$@"', "sh")
TASK = b'{"task_description": "x", "plan": [{"id": "a", "capability": "plain", "input": {"delay_ms": 300}}]}'

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    with Coordinator(tmp_path / "coordinator", through=LIMITED) as coordinator:
        yield coordinator.start().ready()


@pytest.fixture
def agents(coordinator: Coordinator, tmp_path: Path) -> Iterator[Agents]:
    with Agents(tmp_path / "agents", coordinator.url) as agents:
        agents.register(seconds=60)
        yield agents


async def asked(coordinator: Coordinator, request: bytes) -> bytes:
    """The status line that a caller gets on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", coordinator.port)
    with contextlib.closing(writer):
        writer.write(request)
        return (await reader.readline()).strip()


async def test_crowd_is_answered_and_no_agent_blamed(coordinator: Coordinator, agents: Agents) -> None:
    """Each of 300 callers gets its task's result or 503; what is accepted completes, and the agents stay well."""
    head = b"POST /execute_task HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(TASK)

    said = await asyncio.gather(*(asked(coordinator, head + TASK) for _ in range(CALLERS)))

    assert {line.split()[1] for line in said} == {b"200", b"503"}
    async with httpx.AsyncClient(base_url=coordinator.url, timeout=30) as client:
        tasks = (await client.get("/tasks", params={"limit": 200})).json()["tasks"]
        seen = (await client.get("/agents")).json()["agents"]
    assert {task["status"] for task in tasks} == {"completed"}
    assert len(tasks) == said.count(b"HTTP/1.1 200 OK")
    assert {agent["status"] for agent in seen} == {"healthy"}


@contextlib.asynccontextmanager
async def held(coordinator: Coordinator, begun: bytes) -> AsyncIterator[None]:
    """So many connections on which a request never comes to its end."""
    writers = []
    for _ in range(CALLERS):
        with contextlib.suppress(ConnectionError):  # refused already
            writers.append((await asyncio.open_connection("127.0.0.1", coordinator.port))[1])
            writers[-1].write(begun)
    try:
        yield
    finally:
        for writer in writers:
            writer.close()


@pytest.mark.parametrize("begun", [b"", b"POST /execute_task HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"])
async def test_health_and_heartbeats_have_a_reserve(coordinator: Coordinator, agents: Agents, begun: bytes) -> None:
    """While others hold every other connection, health and heartbeats are served, and the rest gets 503."""
    async with held(coordinator, begun), httpx.AsyncClient(base_url=coordinator.url, timeout=30) as client:
        close = {"Connection": "close"}
        beat = {"name": "plain", "endpoint": agents.plain_url, "capabilities": ["plain"]}

        served = [await client.get(path, headers=close) for path in ("/health", "/ready")]
        served.append(await client.post("/register_agent", json=beat, headers=close))
        refused = await client.get("/tasks", headers=close)

    assert [answer.status_code for answer in served] == [200, 200, 200]
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:muster:problem:unavailable")
    assert refused.headers["retry-after"] == "1"
