"""What holds for two coordinators together: an agent's places, priorities, and a tenant's share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from load.agents.noop import build_result
from load.bare.server import HEALTHY, listen
from load.processes.ports import free_port
from tests.fleet.suite import AnyOf, Fleet
from tests.support.fakes import eventually
from tests.support.history import History
from tests.support.postgres import Server

pytestmark = pytest.mark.timeout(180)
PLACES = 4
TASK_SECONDS = 0.1


class Counting:
    """An agent that counts the calls that it has at once; `order` are its tasks as they came."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.now = self.most = 0
        self.order: list[str] = []

    async def _answer(self, step: dict[str, Any]) -> bytes:
        self.order.append(step["task_id"])
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(TASK_SECONDS)
        finally:
            self.now -= 1
        return build_result(step, TASK_SECONDS)

    @asynccontextmanager
    async def registered(self, fleet: Fleet, **registration: object) -> AsyncIterator[None]:
        """Known to every coordinator, as it is registered at the first."""
        handle = lambda method, target, body: self._answer(json.loads(body)) if method == b"POST" else HEALTHY  # noqa: E731
        server = await listen(handle, int(self.url.rpartition(":")[2]))
        body = {"name": "counting", "endpoint": self.url, "capabilities": ["counted"], **registration}
        try:
            async with httpx.AsyncClient() as http:
                assert (await http.post(f"{fleet.urls[0]}/register_agent", json=body)).status_code == 201
                for url in fleet.urls:
                    await eventually(lambda url=url: _knows(http, url), seconds=30)
            yield
        finally:
            server.close()


async def _knows(http: httpx.AsyncClient, url: str) -> bool | None:
    found = (await http.get(f"{url}/agents")).json()["agents"]
    return any(agent["name"] == "counting" and agent["status"] == "healthy" for agent in found) or None


async def _begin(http: httpx.AsyncClient, *, tenant: str | None = None, **given: object) -> str:
    body = {"task_description": "Count", "timeout_seconds": 120.0, "plan": [{"id": "a", "capability": "counted"}]}
    headers = {"Prefer": "respond-async"} | ({"Muster-Tenant": tenant} if tenant else {})
    answer = await http.post("/execute_task", json=body | given, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


async def _all_ended(fleet: Fleet) -> bool | None:
    history = await asyncio.to_thread(History, fleet.database)
    return not history.open_tasks or None


async def test_agents_places_are_shared_out(tmp_path: Path, postgres: Server):
    """Each coordinator has half of them, so an agent never has more calls at once than it said."""
    fleet, agent = Fleet(tmp_path, postgres.make_database()), Counting()
    async with fleet.open(), agent.registered(fleet, max_concurrency=PLACES):
        async with httpx.AsyncClient(transport=AnyOf(fleet.urls), base_url="http://any", timeout=60.0) as http:
            await asyncio.gather(*(_begin(http) for _ in range(40)))
        await eventually(lambda: _all_ended(fleet), seconds=120)

    assert agent.most == PLACES


async def test_urgent_tasks_pass_others_at_every_coordinator(tmp_path: Path, postgres: Server):
    """Only those that run come before, and two that were on their way: each coordinator runs one at a time here."""
    fleet, agent = Fleet(tmp_path, postgres.make_database(), max_concurrent_tasks=1), Counting()
    async with fleet.open(), agent.registered(fleet):
        async with httpx.AsyncClient(transport=AnyOf(fleet.urls), base_url="http://any", timeout=60.0) as http:
            usual = [await _begin(http) for _ in range(40)]
            urgent = [await _begin(http, priority=9) for _ in range(8)]
        begun = len(agent.order)
        await eventually(lambda: _all_ended(fleet), seconds=120)

    assert sorted(agent.order) == sorted([*usual, *urgent])
    assert agent.most <= 2
    after_the_urgent = len(agent.order) - 1 - max(agent.order.index(id) for id in urgent)
    assert after_the_urgent >= len(usual) - begun - 4


async def test_busy_tenant_leaves_others_their_turn(tmp_path: Path, postgres: Server):
    """Whichever coordinators their tasks came to."""
    fleet, agent = Fleet(tmp_path, postgres.make_database(), max_concurrent_tasks=2), Counting()
    async with fleet.open(), agent.registered(fleet):
        async with httpx.AsyncClient(transport=AnyOf(fleet.urls), base_url="http://any", timeout=60.0) as http:
            await asyncio.gather(*(_begin(http, tenant="busy") for _ in range(100)))
            quiet = [await _begin(http, tenant="quiet") for _ in range(4)]
        await eventually(lambda: _all_ended(fleet), seconds=120)

    last = max(agent.order.index(id) for id in quiet)
    assert len(agent.order) == 104
    assert last < 40
    assert agent.most <= 4


async def test_agent_that_registered_elsewhere_is_waited_for(tmp_path: Path, postgres: Server):
    """A task for it comes to the other coordinator in the same moment."""
    fleet, agent = Fleet(tmp_path, postgres.make_database()), Counting()
    async with fleet.open():
        handle = lambda method, target, body: agent._answer(json.loads(body)) if method == b"POST" else HEALTHY  # noqa: E731
        server = await listen(handle, int(agent.url.rpartition(":")[2]))
        body = {"name": "counting", "endpoint": agent.url, "capabilities": ["counted"]}
        async with httpx.AsyncClient(timeout=60.0) as http:
            for number in range(5):
                named = body | {"name": f"counting-{number}", "capabilities": [f"counted-{number}"]}
                assert (await http.post(f"{fleet.urls[0]}/register_agent", json=named)).status_code == 201
                task = {"task_description": "Count", "plan": [{"id": "a", "capability": f"counted-{number}"}]}
                answer = await http.post(f"{fleet.urls[1]}/execute_task", json=task)
                assert (answer.status_code, answer.json().get("status")) == (200, "completed"), answer.text
        server.close()
