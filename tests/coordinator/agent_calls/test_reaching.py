"""The address of an agent on a caller's machine: found by trying, and only where the agent itself answers."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from coordinator.agent_calls.reaching import try_addresses
from load.processes.ports import free_port
from shared.worker.app import create_worker_app
from tests.support.fakes import Network, Suite, agent, eventually, worker_settings
from tests.support.processes import Coordinator, start

COUNTER = agent("counter", "count")


def host(network: Network, name: str, *, agent_name: str = "counter") -> None:
    network.host(name, create_worker_app(agent(agent_name, "count"), settings=worker_settings()))


@pytest.mark.parametrize(
    ("caller", "there", "found"),
    [
        ("172.18.0.1", ("172.18.0.1", "host.docker.internal"), "http://172.18.0.1:8004"),
        ("172.18.0.1", ("host.docker.internal",), "http://host.docker.internal:8004"),
        (None, ("host.docker.internal",), "http://host.docker.internal:8004"),
        ("fd00::1", ("fd00::1",), "http://[fd00::1]:8004"),
        ("172.18.0.1", (), None),
    ],
)
async def test_the_callers_address_comes_first(
    network: Network, caller: str | None, there: tuple[str, ...], found: str | None
) -> None:
    for name in there:
        host(network, name)

    async with httpx.AsyncClient(transport=network) as http:
        tried = await try_addresses(http, caller, name="counter", port=8004)

    assert found == next((one.endpoint for one in tried if one.why is None), None)


async def test_another_on_the_port_is_not_it(network: Network) -> None:
    """The coordinator itself, say, in whose container the caller's port is its own."""
    host(network, "172.18.0.1", agent_name="other")

    async with httpx.AsyncClient(transport=network) as http:
        first, second = await try_addresses(http, "172.18.0.1", name="counter", port=8000)

    assert first.why == "other answers there"
    assert "Name or service not known" in (second.why or "")


@pytest.mark.parametrize("body", [{"name": "counter", "port": 0}, {"name": "counter"}, {"port": 1, "name": ""}, []])
async def test_a_wrong_question_names_its_field(coordinator: Suite, body: object) -> None:
    answer = await coordinator.client.post("/reach_agent", json=body)

    assert answer.status_code == 422


async def test_a_worker_registers_where_it_was_found(coordinator: Suite) -> None:
    """And looks again once it is not reached there any more."""
    network = coordinator.network
    settings = worker_settings(coordinator_url="http://coordinator", watchdog_seconds=0)
    app = create_worker_app(COUNTER, settings=settings, endpoint="http://nowhere:8004", asks=True, inner=network)
    network.host("host.docker.internal", app)
    async with app.router.lifespan_context(app):
        [first] = await eventually(lambda: listed(coordinator, "healthy"))
        network.unplug("host.docker.internal")
        await eventually(lambda: listed(coordinator, "unreachable"))
        network.plug("host.docker.internal")
        [again] = await eventually(lambda: listed(coordinator, "healthy"))

    assert ("http://host.docker.internal:8004", first["agent_id"]) == (again["endpoint"], again["agent_id"])


async def listed(suite: Suite, status: str) -> list[dict[str, str]]:
    """The counters with this status."""
    answer = await suite.client.get("/agents", params={"status": status})
    return [one for one in answer.json()["agents"] if one["name"] == "counter"]


async def test_one_word_is_enough_for_a_process(tmp_path: Path) -> None:
    """`--advertise` finds the coordinator and the key of its folder, and the coordinator finds the worker."""
    headers, port = {"Authorization": "Bearer s3cret"}, free_port()
    with Coordinator(tmp_path, api_key="s3cret") as coordinator:
        coordinator.start().ready()
        (tmp_path / ".env").write_text(f"PUBLISH_PORT={coordinator.port}\nAPI_KEY=s3cret\n")
        counter = start("tests.examples.fourth_worker", f"--port={port}", "--advertise", folder=tmp_path)
        try:
            async with httpx.AsyncClient(base_url=coordinator.url, headers=headers, timeout=60) as client:

                async def healthy() -> list[str]:
                    agents = (await client.get("/agents?status=healthy")).json()["agents"]
                    return [agent["endpoint"] for agent in agents]

                found = await eventually(healthy, seconds=60)
                plan = [{"id": "words", "capability": "count", "input": "one two two"}]
                answer = await client.post("/execute_task", json={"task_description": "Words?", "plan": plan})
        finally:
            counter.kill()

    assert found == [f"http://127.0.0.1:{port}"]
    assert answer.json()["results"][0]["output"]["words"] == 3
