"""Our own workers, registered as agents of foreign protocols: both ends of each protocol in one test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from shared.agent import Agent, Context, Reply
from shared.contracts import StepRequest
from shared.worker.app import create_worker_app
from tests.support.fakes import Held, Suite, agent, eventually, serving, worker_settings
from tests.support.processes import Coordinator

PROTOCOLS = ["openai", "a2a"]
PLAN = [{"id": "poem", "agent": "poet", "input": "Write about the moon."}]
Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts workers on real ports, without a coordinator: `url = await start(one)`."""
    async with AsyncExitStack() as stack:

        async def started(one: Agent, **settings: Any) -> str:
            known = worker_settings(state_dir=tmp_path / "worker", **settings)
            app = create_worker_app(one, settings=known, endpoint="http://127.0.0.1:9", state_dir=tmp_path / "worker")
            return await stack.enter_async_context(serving(app))

        yield started


async def says(step: StepRequest, ctx: Context) -> Reply:
    assert ctx.ask is not None
    return Reply(f"I was asked: {ctx.ask.text}")


async def hired(suite: Suite, url: str, protocol: str, **metadata: Any) -> None:
    await suite.register("poet", url, "write", protocol=protocol, metadata=metadata)
    await suite.sees(url.partition("//")[2], "healthy")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_worker_takes_a_step_as_a_conversation(
    coordinator: Suite, start: Start, protocol: str, stream: bool
) -> None:
    await hired(coordinator, await start(agent("poet", "write", says)), protocol, stream=stream)

    task = await coordinator.execute("A book", plan=PLAN)

    assert task.status == "completed", task
    output = task.results[0].output
    assert isinstance(output, str)
    assert output.startswith("I was asked: A book")
    assert "Write about the moon." in output


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_protected_worker_gets_the_key_of_its_registration(
    coordinator: Suite, start: Start, protocol: str
) -> None:
    """A worker that wants a key gets the one of its registration."""
    url = await start(agent("poet", "write", says), api_key=SecretStr("s3cret"))
    await hired(coordinator, url, protocol, api_key="s3cret")
    await coordinator.register("stranger", url, "guess", protocol=protocol, instance="other")

    task = await coordinator.execute(plan=PLAN)

    assert task.status == "completed", task


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_deadline_reaches_the_worker(coordinator: Suite, start: Start, protocol: str) -> None:
    held = Held()
    await hired(coordinator, await start(agent("poet", "write", held)), protocol)

    task = await coordinator.execute(plan=PLAN, timeout_seconds=0.6)

    assert task.results[0].status == "timed_out"
    await eventually(lambda: held.cancelled)


@pytest.mark.parametrize(("protocol", "timeout"), [("openai", 2.0), ("a2a", 60.0)])
async def test_a_cancel_reaches_the_worker(coordinator: Suite, start: Start, protocol: str, timeout: float) -> None:
    """Under its key a chat goes on without who asked, who may be back: until the deadline, which went with it."""
    held = Held()
    await hired(coordinator, await start(agent("poet", "write", held)), protocol)
    task_id = await coordinator.begin(plan=PLAN, timeout_seconds=timeout)
    await eventually(lambda: held.began)

    await coordinator.client.post(f"/tasks/{task_id}/cancel")

    assert (await coordinator.ended(task_id)).status == "cancelled"
    await eventually(lambda: held.cancelled)


@asynccontextmanager
async def asking(real: Coordinator, url: str, protocol: str) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A task of one step for the worker at `url`, begun at a coordinator in a process of its own."""
    await asyncio.to_thread(lambda: real.start().ready())
    async with httpx.AsyncClient(base_url=real.url, timeout=30) as client:
        body = {"name": "poet", "endpoint": url, "capabilities": [], "protocol": protocol}
        assert (await client.post("/register_agent", json=body)).status_code == 201
        ask = {"task_description": "A poem", "plan": PLAN, "timeout_seconds": 60.0}
        task = (await client.post("/execute_task", json=ask, headers={"Prefer": "respond-async"})).json()
        yield client, task["task_id"]


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Coordinator]:
    with Coordinator(tmp_path / "coordinator") as one:
        yield one


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_kill_9_of_the_coordinator_does_nothing_twice(real: Coordinator, start: Start, protocol: str) -> None:
    """Our own end of both protocols knows what it has begun: by the key of a chat, by the context of a message."""
    held = Held("The moon is there.")
    url = await start(agent("poet", "write", held))
    async with asking(real, url, protocol) as (client, task_id):
        await eventually(lambda: held.began)
        real.kill()
        await asyncio.to_thread(lambda: real.start().ready())

        async def task(status: str) -> Any:
            found = (await client.get(f"/tasks/{task_id}")).json()
            return found if found["results"][0]["status"] == status else None

        await eventually(lambda: task("running"), seconds=20)
        await asyncio.sleep(0.3)
        held.let_go.set()
        done = await eventually(lambda: task("completed"), seconds=20)

    assert done["results"][0]["output"] == "The moon is there."
    assert done["results"][0]["attempt"] == 2
    assert (len(held.began), held.cancelled) == (1, [])
