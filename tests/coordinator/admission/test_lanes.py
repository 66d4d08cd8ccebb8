"""Whose a task is, on every way into the coordinator, and what a noisy one costs the others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordinator.access.keys import make_key
from coordinator.tasks.lane import Lane
from tests.support.fakes import Held, Network, Suite, agent, eventually

PLAN = [{"id": "s", "agent": "worker"}]
CHAT = {"model": "worker", "messages": [{"role": "user", "content": "Work"}]}
A2A = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "SendMessage",
    "params": {
        "message": {
            "messageId": "m",
            "role": "ROLE_USER",
            "parts": [{"text": "Work"}],
            "metadata": {"model": "worker"},
        },
    },
}
WAYS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "task": ("/execute_task", {"task_description": "Work", "plan": PLAN}, {}),
    "chat": ("/v1/chat/completions", CHAT, {}),
    "a2a": ("/a2a", A2A, {"A2A-Version": "1.0"}),
}


def lanes(suite: Suite) -> list[Lane]:
    return [live.seat.lane for live in suite.services.dispatcher._live.values()]


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_carries_the_tenant(network: Network, way: str) -> None:
    path, body, headers = WAYS[way]
    held = Held()
    async with Suite(network, agent("worker", "work", held)) as suite:
        asked = suite.client.post(path, json=body, headers=headers | {"Muster-Tenant": "blue"})
        asking = asyncio.create_task(asked)
        await eventually(lambda: held.began or asking.done())

        assert lanes(suite) == [Lane(None, "blue")], asking.result().text if asking.done() else ""

        held.let_go.set()
        assert (await asking).is_success


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a" * 64, "(other)", "ä"])
async def test_bad_tenant_is_422_that_names_the_header(network: Network, name: str) -> None:
    async with Suite(network, agent("worker", "work")) as suite:
        answer = await suite.ask(plan=PLAN, headers={"Muster-Tenant": name.encode("latin-1")})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/headers/Muster-Tenant"


async def test_tenant_does_not_divide_idempotency_keys(network: Network) -> None:
    """The same key with the same body is the same task, whatever tenant is named."""
    async with Suite(network, agent("worker", "work")) as suite:
        tenants = ["red", "blue"]
        answers = [await suite.ask(plan=PLAN, headers={"Muster-Tenant": t, "Idempotency-Key": "once"}) for t in tenants]

    assert len({a.json()["task_id"] for a in answers}) == 1


async def test_quiet_tenant_goes_next(network: Network) -> None:
    """Behind 40 tasks of a noisy one, also of higher priority, the first of another starts next."""
    held = Held()
    async with Suite(network, agent("worker", "work", held), max_concurrent_tasks=1) as suite:
        for _ in range(40):
            await suite.begin("noisy", plan=PLAN, priority=9, headers={"Muster-Tenant": "noisy"})
        last = await suite.begin("quiet", plan=PLAN, priority=0, headers={"Muster-Tenant": "quiet"})
        held.let_go.set()
        await suite.ended(last)

    assert "quiet" in [s.task_description for s in held.began[:3]]


async def test_noisy_tenant_leaves_room_in_the_queue(network: Network) -> None:
    """It gets 429 while others are accepted; no more tasks are open than may be."""
    held, later = Held(), {"Prefer": "respond-async"}
    async with Suite(network, agent("worker", "work", held), max_concurrent_tasks=2, max_queued_tasks=18) as suite:
        noisy = [await suite.ask(plan=PLAN, headers=later | {"Muster-Tenant": "noisy"}) for _ in range(40)]
        quiet = [await suite.ask(plan=PLAN, headers=later | {"Muster-Tenant": "quiet"}) for _ in range(2)]

        assert [a.status_code for a in quiet] == [202, 202]
        refused = [a for a in noisy if a.status_code == 429]
        assert "your own tasks" in refused[0].json()["detail"]
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert suite.services.dispatcher.open_tasks <= 20
        held.let_go.set()


async def test_weights_of_keys_divide_the_places(network: Network, tmp_path: Path) -> None:
    """A key with weight 3 starts three tasks for one of a key with weight 1."""
    file, held = tmp_path / "keys", Held()
    keys = {name: make_key(file, name, ["execute"], weight=weight) for name, weight in (("heavy", 3.0), ("light", 1.0))}
    async with Suite(
        network, agent("worker", "work", held), max_concurrent_tasks=1, keys_file=file, api_key="a"
    ) as suite:
        for name, key in keys.items():
            for _ in range(8):
                await suite.begin(name, plan=PLAN, headers={"Authorization": f"Bearer {key}"})
        held.let_go.set()
        await eventually(lambda: len(held.began) == 16)

    assert [s.task_description for s in held.began[1:9]].count("heavy") in (5, 6, 7)


async def hang(_: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def test_lanes_outlive_a_restart(network: Network, tmp_path: Path) -> None:
    """Tasks that were open wait in the queue of their tenant again."""
    stored: dict[str, Any] = {"database_url": f"sqlite:///{tmp_path}/muster.db", "max_concurrent_tasks": 1}
    tenants = ["noisy", "noisy", "quiet", None]
    network.answer("worker", hang)
    async with Suite(network, **stored) as suite:
        await suite.register("worker", "http://worker")
        for tenant in tenants:
            await suite.begin(plan=PLAN, headers={"Muster-Tenant": tenant} if tenant else None, timeout_seconds=600)

    async with Suite(network, **stored) as suite:
        assert lanes(suite) == [Lane(None, tenant) for tenant in tenants]
