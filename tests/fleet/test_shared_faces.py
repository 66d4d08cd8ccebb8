"""Chats and A2A tasks at whichever of two coordinators a load balancer picks, and after the death of one."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
from a2a.client import Client, ClientConfig, create_client
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from fastapi import FastAPI, Request
from google.protobuf.struct_pb2 import Struct

from tests.fleet.suite import AnyOf, Fleet
from tests.support.fakes import eventually, serving
from tests.support.history import History
from tests.support.postgres import Server

pytestmark = pytest.mark.timeout(300)
WORKING, DONE = TaskState.TASK_STATE_WORKING, TaskState.TASK_STATE_COMPLETED
CANCELLED = TaskState.TASK_STATE_CANCELED


@pytest.fixture
async def two(tmp_path: Path, postgres: Server) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path, postgres.make_database(), private_webhooks=True, drain_seconds=1)
    async with fleet.open():
        yield fleet


@asynccontextmanager
async def talk(*urls: str, key: str = "", streams: bool = True) -> AsyncIterator[Client]:
    """The SDK's client, each of whose requests goes to another of the coordinators."""
    headers = {"Idempotency-Key": key} if key else {}
    async with httpx.AsyncClient(transport=AnyOf(urls), timeout=60.0, headers=headers) as http:
        config = ClientConfig(httpx_client=http, supported_protocol_bindings=["JSONRPC"], streaming=streams)
        yield await create_client(urls[0], client_config=config)


def ask(*, delay_ms: int, hook: str = "", now: bool = True) -> SendMessageRequest:
    """A question to the agent `worker`, whose answer takes so long."""
    metadata = Struct()
    metadata.update({"model": "worker", "timeout_seconds": 60})
    text = json.dumps({"delay_ms": delay_ms})
    message = Message(message_id="m", role=Role.ROLE_USER, parts=[Part(text=text)], context_id="c", metadata=metadata)
    configuration = SendMessageConfiguration(return_immediately=now)
    if hook:
        configuration.task_push_notification_config.CopyFrom(TaskPushNotificationConfig(url=hook))
    return SendMessageRequest(message=message, configuration=configuration)


async def begin(url: str, request: SendMessageRequest) -> Task:
    """A task that is worked on at one coordinator."""
    async with talk(url, streams=False) as client:
        return await send(client, request)


async def send(client: Client, request: SendMessageRequest) -> Task:
    [answer] = [answer async for answer in client.send_message(request)]
    return answer.task


async def ended(client: Client, id: str) -> Task:
    async def look() -> Task | None:
        task = await client.get_task(GetTaskRequest(id=id))
        return task if task.status.state > WORKING else None

    return await eventually(look, seconds=60)


async def test_conversation_goes_on_at_the_other(two: Fleet) -> None:
    """What was said at one is remembered by both, in its order."""
    async with httpx.AsyncClient(transport=AnyOf(two.urls), timeout=60.0, base_url=two.urls[0]) as http:
        for text in ("one", "two", "three"):
            body = {"model": "worker", "messages": [{"role": "user", "content": text}]}
            answer = await http.post("/v1/chat/completions", json=body, headers={"X-Session-ID": "s"})
            assert answer.status_code == 200, answer.text
        seen = [(await http.get("/memory/events", params={"session_id": "s"})).json()["events"] for _ in two.urls]

    asked = [[event["content"] for event in events if event["event_type"] == "user_message"] for events in seen]
    assert asked == [["one", "two", "three"]] * 2


async def test_task_is_shown_and_followed_at_the_other(two: Fleet) -> None:
    task = await begin(two.urls[0], ask(delay_ms=12_000))
    async with talk(two.urls[1]) as other:
        got = await other.get_task(GetTaskRequest(id=task.id))
        listed = await other.list_tasks(ListTasksRequest(context_id="c"))
        told = [event async for event in other.subscribe(SubscribeToTaskRequest(id=task.id))]

    assert got.status.state == WORKING
    assert [one.id for one in listed.tasks] == [task.id]
    assert told[0].task.id == task.id
    assert told[-1].status_update.status.state == DONE
    assert any(event.HasField("artifact_update") for event in told)


async def test_same_key_at_both_is_one_a2a_task(two: Fleet) -> None:
    """Also in the same moment; each caller gets the answer."""
    async with talk(*two.urls, key="k", streams=False) as client:
        tasks = await asyncio.gather(*(send(client, ask(delay_ms=500, now=False)) for _ in range(4)))

    assert [task.status.state for task in tasks] == [DONE] * 4
    assert len({task.id for task in tasks}) == 1


async def test_cancel_at_the_other_ends_the_work(two: Fleet) -> None:
    """The task that carries it ends, too, soon and not at its deadline."""
    task = await begin(two.urls[0], ask(delay_ms=50_000))
    async with talk(two.urls[1]) as other:
        cancelled = await other.cancel_task(CancelTaskRequest(id=task.id))

    async def over() -> str | None:
        history = await asyncio.to_thread(History, two.database)
        [status] = [str(row["status"]) for row in history.tasks.values()]
        return status if status not in ("queued", "running") else None

    assert cancelled.status.state == CANCELLED
    assert await eventually(over, seconds=20) == "cancelled"


@pytest.mark.parametrize("stops", [True, False])
async def test_a2a_task_and_its_hook_outlive_its_coordinator(two: Fleet, stops: bool) -> None:
    """Killed or told to stop: another one takes the task up, and tells each piece of news once."""
    told: Counter[str] = Counter()
    app = FastAPI()

    @app.post("/news")
    async def take(request: Request) -> None:
        told[(await request.body()).decode()] += 1

    async with serving(app, lifespan=False) as hooks:
        task = await begin(two.urls[1], ask(delay_ms=6_000, hook=f"{hooks}/news"))
        if stops:
            two.coordinators[1].terminate()
        else:
            two.coordinators[1].kill()
        async with talk(two.urls[0]) as other:
            after = await ended(other, task.id)
            await eventually(lambda: any("COMPLETED" in news for news in told) or None, seconds=60)

    assert after.status.state == DONE
    assert len([part for artifact in after.artifacts for part in artifact.parts if part.text]) == 1
    assert set(told.values()) == {1}


async def test_coordinator_that_was_paused_ends_no_a2a_task(two: Fleet) -> None:
    """It finds out that another one has taken its task up, and leaves it and its work alone."""
    task = await begin(two.urls[1], ask(delay_ms=4_000))
    [first] = await find_carriers(two.database)
    two.coordinators[1].process.tell(signal.SIGSTOP)
    try:

        async def taken_over() -> bool | None:
            return await find_carriers(two.database) != [first] or None

        await eventually(taken_over, seconds=60)
    finally:
        two.coordinators[1].process.tell(signal.SIGCONT)
    async with talk(*two.urls) as client:
        after = await ended(client, task.id)
    history = await asyncio.to_thread(History, two.database)

    assert after.status.state == DONE
    assert [row["status"] for row in history.tasks.values()] == ["completed"]


async def find_carriers(database: str) -> list[str]:
    """Who works on each A2A task."""
    connection = await asyncpg.connect(database)
    try:
        return [row["carrier"] for row in await connection.fetch("SELECT carrier FROM a2a_tasks")]
    finally:
        await connection.close()
