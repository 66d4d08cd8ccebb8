"""Agents as clients see them: registering, beating, falling silent, coming back, going."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.agents import registry
from coordinator.agents.registration_cache import Registrations
from tests.support.fakes import Held, Network, Suite, agent, eventually

AGENT = {"name": "echo", "endpoint": "http://echo", "capabilities": ["echo", "repeat"]}


async def test_first_registration_is_201_later_ones_200(coordinator: Suite) -> None:
    """The first registration is 201 and each further one 200."""
    first, second = [await coordinator.client.post("/register_agent", json=AGENT) for _ in range(2)]

    assert (first.status_code, second.status_code) == (201, 200)
    assert set(first.json()) == {"contract", "agent_id", "name", "status", "lease_seconds", "key"}
    assert (first.json()["status"], first.json()["lease_seconds"]) == ("pending", 6.0)
    assert {k: v for k, v in first.json().items() if k != "status"} == {
        k: v for k, v in second.json().items() if k != "status"
    }


async def test_wrong_registration_is_refused_every_time(coordinator: Suite) -> None:
    """What is wrong about a registration is said every time."""
    wrong = AGENT | {"endpoint": "http://169.254.169.254"}

    answers = [await coordinator.client.post("/register_agent", json=wrong) for _ in range(2)]

    assert [a.status_code for a in answers] == [422, 422]


async def test_agent_that_registers_anew_is_updated(coordinator: Suite) -> None:
    """An agent that registers with something new is seen so."""
    for description in ("one", "two", "two", "one"):
        await coordinator.client.post("/register_agent", json=AGENT | {"description": description})

        assert (await coordinator.agents())["echo"].description == description


def test_heartbeat_is_checked_once_and_kept_small() -> None:
    """A heartbeat is checked once and nothing large is kept."""
    registrations = Registrations(private=True)
    small, large = [json.dumps(AGENT | {"unknown": "x" * size}).encode() for size in (10, 20_000)]

    assert registrations.parse(small) is registrations.parse(small)
    assert registrations.parse(large) is not registrations.parse(large)


def test_registrations_are_bounded_by_the_agents_limit() -> None:
    """No more registrations are kept than there may be agents."""
    registrations = Registrations(private=True)
    first = registrations.parse(json.dumps(AGENT).encode())

    for number in range(registry.MAX_AGENTS):
        registrations.parse(json.dumps(AGENT | {"name": f"echo-{number}"}).encode())

    assert registrations.parse(json.dumps(AGENT).encode()) is not first


async def test_view_of_an_agent_follows_the_contract(coordinator: Suite) -> None:
    """The view of an agent has what the contract says."""
    await coordinator.add(agent("echo", "echo", version="1.2.3", max_concurrency=7))
    await coordinator.execute(agents=["echo"])

    (view,) = (await coordinator.client.get("/agents")).json()["agents"]

    assert set(view) == {
        "agent_id", "name", "instance", "endpoint", "capabilities", "description", "protocol", "status", "load",
        "max_concurrency", "latency_seconds", "breaker", "last_error", "last_seen", "version", "last_canary",
        "canary_error",
    }  # fmt: skip
    assert (view["name"], view["version"], view["max_concurrency"]) == ("echo", "1.2.3", 7)
    assert (view["status"], view["load"], view["breaker"], view["last_error"]) == ("healthy", 0, "closed", None)
    assert 0 < view["latency_seconds"] < 1


async def test_agents_are_found_by_capability_status_and_name(coordinator: Suite) -> None:
    await coordinator.add(agent("echo", "echo"))
    await coordinator.register("ghost", "http://ghost", "haunt")
    await coordinator.sees("ghost", "unreachable")

    async def found(**params: Any) -> list[str]:
        return [a["name"] for a in (await coordinator.client.get("/agents", params=params)).json()["agents"]]

    assert await found() == ["echo", "ghost"]
    assert await found(capability="haunt") == ["ghost"]
    assert await found(status="healthy") == ["echo"]
    assert await found(capability="haunt", status="healthy") == []
    one = (await coordinator.client.get("/agents/ghost")).json()
    assert [i["endpoint"] for i in one["instances"]] == ["http://ghost"]


async def test_agents_come_page_by_page(coordinator: Suite) -> None:
    for i in range(5):
        await coordinator.register("same" if i < 3 else f"other-{i}", f"http://host-{i}")
    seen, cursor = [], None
    while cursor is not None or not seen:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await coordinator.client.get("/agents", params=params)).json()
        seen += [a["endpoint"] for a in page["agents"]]
        cursor = page["next_cursor"]

    assert sorted(seen) == [f"http://host-{i}" for i in range(5)]


async def test_silent_agents_step_goes_elsewhere(coordinator: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent whose beat stops falls silent and its step goes elsewhere."""
    monkeypatch.setattr(registry, "LEASE_SECONDS", 0.3)
    held = Held()
    await coordinator.add(agent("worker", "work", held), host="one")
    task_id = await coordinator.begin(plan=[{"id": "s", "capability": "work"}])
    await eventually(lambda: held.began)
    coordinator.network.unplug("coordinator")

    silent = await coordinator.sees("one", "unreachable", seconds=2)
    coordinator.network.plug("coordinator")
    held.let_go.set()
    await coordinator.add(agent("worker", "work"), host="two")

    assert "silent" in str(silent.last_error)
    step = (await coordinator.ended(task_id)).results[0]
    assert (step.status, step.attempt) == ("completed", 2)
    events = (await coordinator.client.get(f"/tasks/{task_id}/events")).text
    assert "went silent during the step" in events


async def test_unreachable_agents_step_goes_elsewhere_once_silent(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed probe alone ends no call; the lease does when it runs out, though the probe had noticed first."""
    monkeypatch.setattr(registry, "LEASE_SECONDS", 2.0)
    held = Held()
    plan = [{"id": "s", "capability": "work"}]
    async with Suite(network, health_check_interval=0.1) as suite:
        await suite.add(agent("worker", "work", held), host="one")
        task_id = await suite.begin(plan=plan, timeout_seconds=60)
        await eventually(lambda: held.began)
        network.unplug("one")
        await suite.sees("one", "unreachable", seconds=10)
        still = (await suite.task(task_id)).results[0]
        network.unplug("coordinator")
        await eventually(lambda: not suite.services.agents._calls, seconds=20)
        network.plug("coordinator")
        await suite.add(agent("worker", "work"), host="two")
        step = (await suite.ended(task_id, seconds=30)).results[0]
        held.let_go.set()

    assert (still.status, still.attempt) == ("running", 1)
    assert (step.status, step.attempt) == ("completed", 2)


async def test_beating_but_unreachable_agent_gets_no_steps(network: Network) -> None:
    """An agent that beats but cannot be called is unreachable and gets nothing."""
    async with Suite(network, agent("echo", "echo"), health_check_interval=0.1) as suite:
        network.unplug("echo")
        view = await suite.sees("echo", "unreachable")
        calls = len(network.calls("echo"))

        task = await suite.execute(agents=["echo"], timeout_seconds=0.6)
        network.plug("echo")
        await suite.sees("echo", "healthy")

        assert "Connection refused" in str(view.last_error)
        assert task.results[0].error.type == "no_agent"
        assert len(network.calls("echo")) == calls
        assert (await suite.execute(agents=["echo"])).status == "completed"


async def test_withdrawn_agent_is_gone_its_work_goes_on(coordinator: Suite) -> None:
    """A withdrawn agent is gone and what it works on goes on."""
    held = Held()
    await coordinator.add(agent("worker", "work", held))
    task_id = await coordinator.begin(agents=["worker"])
    await eventually(lambda: held.began)
    answer = await coordinator.remove("worker")
    held.let_go.set()

    assert (answer.status_code, answer.json()["status"]) == (200, "removed")
    assert (await coordinator.ended(task_id)).status == "completed"


async def test_agents_are_known_and_probed_again_after_a_restart(tmp_path: Path) -> None:
    journal = f"sqlite:///{tmp_path}/muster.db"
    async with Suite(Network(), database_url=journal) as suite:
        await suite.register("ghost", "http://ghost", "haunt")
        gone = await suite.register("gone", "http://gone", "leave")
        await suite.client.delete(f"/agents/{gone['agent_id']}")
    async with Suite(Network(), database_url=journal) as suite:
        await suite.sees("ghost", "unreachable")

        assert list(await suite.agents()) == ["ghost"]
        assert (await suite.register("ghost", "http://ghost", "haunt"))["status"] in ("pending", "unreachable")


async def test_late_listener_is_healthy_soon(coordinator: Suite) -> None:
    """An agent that starts to listen a moment after it registered is healthy soon."""
    await coordinator.register("late", "http://late", "work")
    asyncio.get_running_loop().call_later(0.3, coordinator.network.answer, "late", None)

    await coordinator.sees("late", "healthy")
    assert (await coordinator.agents())["late"].status == "healthy"


async def test_dozens_of_dead_agents_slow_nobody(network: Network) -> None:
    async with Suite(network, agent("echo", "echo"), health_check_interval=0.3) as suite:
        for i in range(50):
            await suite.register(f"dead-{i}", f"http://dead-{i}", "echo")
        await suite.sees("dead-49", "unreachable")

        tasks = await asyncio.gather(*(suite.execute(agents=["echo"]) for _ in range(20)))

    assert {t.status for t in tasks} == {"completed"}
    assert max(t.duration_seconds for t in tasks) < 20
