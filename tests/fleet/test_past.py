"""What has ended is the same at either of two coordinators, whichever of them accepted it and whichever carried it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from coordinator.console.spent import SPENT
from coordinator.replay.replay import replay
from shared.agent import Context, Reply
from shared.contracts import StepRequest, TaskView, Usage
from shared.db.postgres.database import POSITION_BITS
from tests.coordinator.replay.world import GIVEN, WORKER
from tests.support.fakes import Network, Suite, agent, eventually
from tests.support.postgres import Server

PLAN = [
    {"id": "a", "capability": "work", "input": {"what": "first"}},
    {"id": "b", "capability": "work", "input": {"fails": 1}, "needs": ["a"]},
]


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.make_database()


@asynccontextmanager
async def opened(url: str, *agents: Any) -> AsyncIterator[tuple[Suite, Suite]]:
    """Two coordinators of one database, which see each agent."""
    network = Network()
    settings: dict[str, Any] = {"database_url": url, "record": True, "max_concurrent_tasks": 2}
    async with Suite(network, *agents, **settings) as first, Suite(network, **settings) as second:
        for one in agents:
            await second.sees(one.name, "healthy")
        yield first, second


async def carry_elsewhere(first: Suite, second: Suite) -> str:
    """A task that the first coordinator has accepted and the second one carried: each gives its own positions."""
    for _ in range(20):
        tasks = await asyncio.gather(*(first.execute(plan=PLAN) for _ in range(6)))
        for task in tasks:
            events = await second.services.store.events(task.task_id)
            if len({event.id >> POSITION_BITS for event in events}) > 1:
                return task.task_id
    raise AssertionError("The second coordinator has carried none of 120 tasks.")


async def read(suite: Suite, path: str, **headers: str) -> str:
    answer = await suite.client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize("path", ["", "/why", "/recording", "/events", "/report"])
async def test_a_task_is_told_alike_at_both(url: str, path: str) -> None:
    async with opened(url, WORKER) as (first, second):
        id = await carry_elsewhere(first, second)
        told = [await read(suite, f"/tasks/{id}{path}") for suite in (first, second)]

    assert told[0] == told[1]


def test_its_recording_is_replayed(url: str) -> None:
    """As it was carried, from whichever coordinator the recording was fetched."""

    async def record() -> list[dict[str, Any]]:
        async with opened(url, WORKER) as (first, second):
            id = await carry_elsewhere(first, second)
            return [json.loads(await read(suite, f"/tasks/{id}/recording")) for suite in (first, second)]

    recordings = asyncio.run(record())

    assert [replay(recording, agents=GIVEN).differences for recording in recordings] == [[], []]


async def test_it_runs_again_at_either(url: str) -> None:
    """From a step on: what is before it is taken over."""
    async with opened(url, WORKER) as (first, second):
        id = await carry_elsewhere(first, second)
        answers = [await suite.client.post(f"/tasks/{id}/rerun", json={"from_step": "b"}) for suite in (first, second)]
        views = [TaskView.model_validate(answer.json()) for answer in answers]

    assert [view.status for view in views] == ["completed"] * 2
    assert [view.rerun.taken_over for view in views if view.rerun] == [["a"]] * 2


async def test_a_slow_agent_is_explained_at_both(url: str) -> None:
    """What is usual is known from what any of them has carried."""
    pace = [0.0]

    async def works(step: StepRequest, ctx: Context) -> Reply:
        await asyncio.sleep(pace[0])
        return Reply("done")

    async with opened(url, agent("worker", "work", works)) as (first, second):
        for _ in range(6):
            await first.execute(plan=PLAN[:1])
        pace[0] = 5.0
        slow = await second.execute(plan=PLAN[:1])
        told = [json.loads(await read(suite, f"/tasks/{slow.task_id}/why")) for suite in (first, second)]

    assert [found["causes"][0]["kind"] for found in told] == ["agent_slow"] * 2


async def test_lists_and_pages_are_those_of_all(url: str) -> None:
    async with opened(url, WORKER) as (first, second):
        tasks = [(await suite.execute(plan=PLAN)).task_id for suite in (first, second)]
        lists = [await read(suite, "/tasks") for suite in (first, second)]
        pages = [await read(suite, "/console/tasks", Accept="text/html") for suite in (first, second)]

    assert lists[0] == lists[1]
    assert all(id in text for id in tasks for text in (*lists, *pages))


async def test_tokens_are_those_of_all(url: str) -> None:
    """Whoever carried the steps, each of the two pages counts them once, also when it is opened again."""

    async def spends(step: StepRequest, ctx: Context) -> Reply:
        return Reply("done", Usage(calls=1, input_tokens=1_000, output_tokens=200))

    async with opened(url, agent("worker", "work", spends)) as (first, second):
        for asked in (first, second, first):
            await asyncio.gather(*(asked.execute(plan=PLAN[:1]) for _ in range(4)))
            for suite in (first, second):
                await read(suite, "/console/numbers", Accept="text/html")
        for suite in (first, second):
            await eventually(lambda suite=suite: getattr(suite.app.state, SPENT).known)
        pages = [await read(suite, "/console/numbers?of=day", Accept="text/html") for suite in (first, second)]

    assert ["<dt>Tokens</dt><dd><strong>14,400</strong>" in page for page in pages] == [True, True]
