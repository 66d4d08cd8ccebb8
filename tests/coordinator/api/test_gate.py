"""A full queue refuses from the head alone, on a real socket: in each protocol's form, and nobody who has a task."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.server.intake import Intake
from tests.support.fakes import Held, Network, Suite, agent, eventually, serving

PLAN = [{"id": "s", "capability": "work"}]
TASK = {"task_description": "Work", "plan": PLAN, "timeout_seconds": 60}
CHAT = {"model": "coordinator", "messages": [{"role": "user", "content": "How do the tides work?"}]}
LATER = {"Prefer": "respond-async"}


@contextlib.asynccontextmanager
async def full(network: Network, *, room: int = 1, **settings: Any) -> AsyncIterator[tuple[Suite, str, Held]]:
    """A suite whose only place is taken by a task with the key "mine", and its URL."""
    held = Held()
    narrow = Suite(network, agent("slow", "work", held), max_concurrent_tasks=1, max_queued_tasks=room - 1, **settings)
    async with narrow as suite, serving(suite.app, lifespan=False, http=Intake) as url:
        await suite.begin(plan=PLAN, timeout_seconds=60, headers={"Idempotency-Key": "mine"})
        await eventually(lambda: held.began)
        yield suite, url, held
        held.let_go.set()


class Connection:
    """One connection on which requests are written as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = json.loads(await self._reader.readexactly(int(headers["content-length"])))
        return int(first.split()[1]), headers, body

    def close(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = Connection(*await asyncio.open_connection(*url.partition("//")[2].split(":")))
    yield connection
    connection.close()


def head(path: str, length: int, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: x", f"content-length: {length}", *lines, "", ""]).encode()


async def test_refusal_needs_no_body_and_keeps_the_connection(network: Network) -> None:
    async with full(network) as (_, url, _), connected(url) as connection:
        connection.send(head("/execute_task", 2_000, "x-request-id: r1"))
        status, headers, body = await connection.answer()
        connection.send(b"x" * 2_000)
        connection.send(head("/health", 0, method="GET"))
        then, _, health = await connection.answer()

    assert (status, body["type"], body["instance"]) == (429, "urn:muster:problem:overloaded", "/execute_task")
    assert int(headers["retry-after"]) == body["retry_after_seconds"] >= 1
    assert headers["x-request-id"] == "r1"
    assert {"date", "content-type"} <= headers.keys()
    assert (then, health["status"]) == (200, "healthy")


async def test_requests_in_a_row_are_each_answered(network: Network) -> None:
    """Pipelined: refused, let through, refused."""
    body = json.dumps(TASK).encode()
    async with full(network) as (_, url, _), connected(url) as connection:
        refused = head("/execute_task", len(body)) + body
        connection.send(refused + head("/health", 0, method="GET") + refused)
        statuses = [(await connection.answer())[0] for _ in range(3)]

    assert statuses == [429, 200, 429]


async def test_a_body_that_never_comes_gets_one_answer(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Intake, "body_seconds", 0.2)
    async with full(network) as (_, url, _), connected(url) as connection:
        connection.send(head("/execute_task", 2_000))
        assert (await connection.answer())[0] == 429
        async with asyncio.timeout(10):
            assert await connection._reader.read() == b""


async def test_known_key_gets_its_task_when_full(network: Network) -> None:
    async with full(network) as (_, url, held), httpx.AsyncClient(base_url=url) as client:
        unknown = await client.post("/execute_task", json=TASK, headers={"Idempotency-Key": "other"})
        task = {"task_description": "Why are there tides?", "plan": PLAN, "timeout_seconds": 60}
        known = await client.post("/execute_task", json=task, headers=LATER | {"Idempotency-Key": "mine"})

        assert (unknown.status_code, known.status_code) == (429, 202)
        assert len(held.began) == 1


async def test_chat_is_refused_in_its_own_form(network: Network) -> None:
    async with full(network) as (_, url, _), connected(url) as connection:
        connection.send(head("/v1/chat/completions", 2_000))
        status, headers, body = await connection.answer()

    assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(headers["retry-after"]) >= 1


async def test_caller_without_a_key_learns_nothing(network: Network) -> None:
    """It is refused as always, and the audit says so once."""
    async with Suite(network, max_concurrent_tasks=1, max_queued_tasks=0, api_key="secret") as suite:
        await suite.register("gone", "http://nowhere:1", "vanish")
        await suite.begin(plan=[{"id": "a", "capability": "vanish"}])
        async with serving(suite.app, lifespan=False, http=Intake) as url, httpx.AsyncClient(base_url=url) as client:
            stranger = await client.post("/execute_task", json=TASK)
            friend = await client.post("/execute_task", json=TASK, headers={"Authorization": "Bearer secret"})
        entries = (await suite.client.get("/audit")).json()["entries"]

    assert (stranger.status_code, friend.status_code) == (401, 429)
    assert [e["type"] for e in entries].count("audit.key_refused") == 1


async def test_refusals_from_the_head_are_counted(network: Network) -> None:
    async with full(network) as (suite, url, _), httpx.AsyncClient(base_url=url) as client:
        for _ in range(5):
            assert (await client.post("/execute_task", json=TASK)).status_code == 429
        metrics = (await suite.client.get("/metrics")).text

    assert 'muster_http_requests_total{method="POST",route="/execute_task",status="429"} 5.0' in metrics


async def test_everybody_at_once_fills_the_queue_exactly(network: Network) -> None:
    """Heads that came together are counted before the first of them is accepted."""
    async with full(network, room=4) as (_, url, held), contextlib.AsyncExitStack() as stack:
        body = json.dumps(TASK).encode()
        connections = [await stack.enter_async_context(connected(url)) for _ in range(12)]
        for connection in connections:
            connection.send(head("/execute_task", len(body), "prefer: respond-async") + body)
        statuses = [(await connection.answer())[0] for connection in connections]
        held.let_go.set()

    assert (statuses.count(202), statuses.count(429)) == (3, 9)


async def test_room_again_means_accepted_again(network: Network) -> None:
    async with full(network) as (suite, url, held), httpx.AsyncClient(base_url=url) as client:
        assert (await client.post("/execute_task", json=TASK)).status_code == 429
        held.let_go.set()
        await eventually(lambda: not suite.services.dispatcher.open_tasks)

        assert (await client.post("/execute_task", json=TASK)).status_code == 200


async def test_other_requests_pass_a_full_queue(network: Network) -> None:
    async with full(network) as (_, url, _), httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/tasks")).status_code == 200
        assert (await client.get("/execute_task")).status_code == 405
        assert (await client.post("/execute_task?pretty", json=TASK)).status_code == 429


async def test_a_full_queue_reads_no_body(network: Network) -> None:
    """Also where another server runs the app."""

    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    sent: list[dict[str, Any]] = []

    async def keep(message: Any) -> None:
        sent.append(message)

    async with full(network) as (suite, _, _), asyncio.timeout(10):
        scope = {"type": "http", "method": "POST", "path": "/execute_task", "raw_path": b"/execute_task"}
        more = {"query_string": b"", "headers": [(b"host", b"x")], "http_version": "1.1", "scheme": "http"}
        await suite.app({**scope, **more, "client": ("127.0.0.1", 1), "server": ("x", 80)}, never, keep)

    assert sent[0]["status"] == 429
