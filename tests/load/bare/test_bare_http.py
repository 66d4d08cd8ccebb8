"""The bare server and client that the limits and the agents of the benchmarks stand on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from load.agents.noop import Noop
from load.bare.client import Broken, Client
from load.bare.server import Handler, listen
from load.peers.limits.exchange import answer_task


@asynccontextmanager
async def served(handle: Handler) -> AsyncIterator[Client]:
    server = await listen(handle, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Client(f"127.0.0.1:{port}") as client:
        yield client


async def test_requests_share_kept_connections():
    """One after the other uses one connection; at once, as many as there are."""
    seen: list[bytes] = []

    async def echo(body: bytes) -> bytes:
        seen.append(body)
        await asyncio.sleep(0.01)
        return body

    async with served(lambda method, target, body: echo(method + target + body)) as client:
        assert await client.request("POST", "/x", b"1") == (200, b"POST/x1")
        await asyncio.gather(*(client.request("POST", "/y", b"%d" % n) for n in range(5)))

        assert len(client._idle) == 5
    assert len(seen) == 6


async def test_a_large_answer_arrives_whole():
    async with served(lambda method, target, body: body) as client:
        _, said = await client.request("POST", "/", b"x" * 3_000_000)

    assert said == b"x" * 3_000_000


async def test_a_caller_that_is_gone_cancels_its_request():
    cancelled = asyncio.Event()

    async def forever() -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return b""

    async with served(lambda *_: forever()) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.request("GET", "/")
        async with asyncio.timeout(5):
            await cancelled.wait()


@pytest.mark.parametrize("said", [b"", b"no HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1"])
async def test_an_answer_that_is_none_is_an_error(said):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Client(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(Broken):
            await client.request("GET", "/")


async def test_the_job_of_the_limits_asks_three_agents():
    """Two at once, then one that sees both outputs."""
    bodies: list[dict[str, object]] = []
    noop = Noop(0.0)

    def handle(method: bytes, target: bytes, body: bytes) -> bytes:
        bodies.append(json.loads(body))
        answer = noop.handle(method, target, body)
        assert isinstance(answer, bytes)
        return answer

    async with served(handle) as client:
        ended = await answer_task(client, {"task_description": "Why?"})

    assert [step["step_id"] for step in ended["results"]] == ["research", "analyze", "report"]
    assert list(bodies[2]["upstream"]) == ["research", "analyze"]


async def test_held_steps_are_let_go():
    """An agent that hangs goes on when it gets a delay."""
    noop = Noop(None)

    async with served(noop.handle) as client:
        held = asyncio.create_task(client.request("POST", "/execute", b'{"step_id": "a"}'))
        await asyncio.sleep(0.05)
        assert not held.done()

        await client.request("PUT", "/delay", b"0")
        _, said = await held

    assert json.loads(said)["status"] == "completed"
