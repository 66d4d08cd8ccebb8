"""The wall clock jumps by an hour while a task runs: nothing ends early, nothing waits longer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response

from shared.agent import Context, Reply, RunStep
from shared.contracts import StepRequest
from tests.support import fakes
from tests.support.fakes import Held, Network, Suite, agent, eventually

HOUR = 3_600.0
LONGER_SECONDS = 1.5  # than a wait lasts whose time is up: half a second for the events, and again for the end
PLAN = [{"id": "a", "capability": "work"}]
both_ways = pytest.mark.parametrize("jump", [HOUR, -HOUR])


@dataclass
class Clock:
    """A wall clock that a test moves."""

    moved: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.moved


@dataclass
class HeldWork(Held):
    """A `run` that does `work` once it is let go."""

    work: RunStep | None = None

    async def __call__(self, step: StepRequest, ctx: Context) -> Reply:
        await super().__call__(step, ctx)
        assert self.work is not None
        return await self.work(step, ctx)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def suite(network: Network, clock: Clock) -> AsyncIterator[Suite]:
    """A coordinator whose wall clock is `clock`."""
    async with Suite(network, app={"wall": clock}) as suite:
        yield suite


@both_ways
async def test_chat_outlives_a_jump(suite: Suite, clock: Clock, jump: float) -> None:
    """Neither is the answer a false 503 nor the task cancelled."""
    research, analysis = HeldWork(work=fakes.researches), HeldWork(work=fakes.analyses)
    await suite.add(agent("researcher", "research", research))
    await suite.add(agent("analyzer", "analyze", analysis))
    await suite.add(fakes.REPORTER)
    body = {"messages": [{"role": "user", "content": "Why are there tides?"}], "timeout_seconds": 60}
    asking = asyncio.create_task(suite.client.post("/v1/chat/completions", json=body))
    await eventually(lambda: research.began)

    clock.moved = jump
    research.let_go.set()
    await eventually(lambda: analysis.began)
    await asyncio.wait({asking}, timeout=LONGER_SECONDS)
    analysis.let_go.set()

    answer = await asking
    assert (answer.status_code, analysis.cancelled) == (200, [])
    assert fakes.MOON in answer.json()["choices"][0]["message"]["content"]


@both_ways
async def test_caller_that_comes_back_waits_on(suite: Suite, clock: Clock, jump: float) -> None:
    """The same `Idempotency-Key` after the jump waits for the task's own time."""
    held, key = Held(), {"Idempotency-Key": "one"}
    await suite.add(agent("worker", "work", held))
    asked: dict[str, Any] = {"plan": PLAN, "timeout_seconds": 60, "headers": key}
    first = asyncio.create_task(suite.ask(**asked))
    await eventually(lambda: held.began)

    clock.moved = jump
    again = asyncio.create_task(suite.ask(**asked))
    await asyncio.wait({again}, timeout=LONGER_SECONDS)
    held.let_go.set()

    assert [(await one).status_code for one in (first, again)] == [200, 200]


@both_ways
async def test_webhook_is_retried_as_if_nothing_happened(
    suite: Suite, network: Network, clock: Clock, jump: float
) -> None:
    """The clock moves before the task ends, and again between the attempts."""
    got: list[Request] = []

    async def take(request: Request) -> Response:
        got.append(request)
        clock.moved += jump
        return Response(status_code=204 if len(got) == 3 else 500)

    receiver = FastAPI()
    receiver.add_api_route("/done", take, methods=["POST"])
    network.host("hooks", receiver)
    held = Held()
    await suite.add(agent("worker", "work", held))
    task_id = await suite.begin(plan=PLAN, webhook_url="http://hooks/done")
    await eventually(lambda: held.began)

    clock.moved = jump
    held.let_go.set()

    async def delivered() -> bool:
        events = await suite.services.store.events(task_id)
        return any(e.type == "webhook.sent" and e.fields["delivered"] for e in events)

    assert await eventually(delivered)
    assert len(got) == 3


@both_ways
async def test_times_are_of_the_tasks_own_clock(suite: Suite, clock: Clock, jump: float) -> None:
    """No jump is in a duration, whoever shows it."""
    held = Held()
    await suite.add(agent("worker", "work", held))
    asking = asyncio.create_task(suite.execute(plan=PLAN, timeout_seconds=60))
    await eventually(lambda: held.began)

    clock.moved = jump
    held.let_go.set()
    task = await asking

    [line] = (await suite.client.get("/tasks")).json()["tasks"]
    stats = (await suite.client.get("/stats")).json()
    shown = [task.duration_seconds, *(step.duration_seconds for step in task.results), line["duration_seconds"]]
    counted = [*stats["percentiles_seconds"].values(), stats["agents"]["worker"]["avg_seconds"]]
    assert task.status == "completed"
    assert all(seconds is not None and 0 <= seconds < 60 for seconds in [*shown, *counted]), (shown, counted)
    sums = [m for m in (await suite.client.get("/metrics")).text.splitlines() if "_seconds_sum" in m]
    assert sums
    assert all(0 <= float(m.rpartition(" ")[2]) < 60 for m in sums if m.startswith("muster_")), sums


@both_ways
async def test_deadline_stays_where_it_was(suite: Suite, clock: Clock, jump: float) -> None:
    """A step that hangs is timed out by the task's own time, neither at once nor an hour later."""
    held = Held()
    await suite.add(agent("worker", "work", held))
    asking = asyncio.create_task(suite.execute(plan=PLAN, timeout_seconds=2.0))
    await eventually(lambda: held.began)

    clock.moved = jump
    task = await asking

    assert task.status == "timed_out"
    assert task.duration_seconds is not None
    assert 1.0 < task.duration_seconds < 60


@both_ways
async def test_stream_ends_with_the_task(suite: Suite, clock: Clock, jump: float) -> None:
    held = Held()
    await suite.add(agent("worker", "work", held))
    task_id = await suite.begin(plan=PLAN, timeout_seconds=60)
    await eventually(lambda: held.began)
    following = asyncio.create_task(suite.client.get(f"/tasks/{task_id}/events"))

    clock.moved = jump
    await asyncio.wait({following}, timeout=LONGER_SECONDS)
    held.let_go.set()

    assert "task.finished" in (await following).text
