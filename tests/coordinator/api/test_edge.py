"""What callers of every kind get: HEAD wherever GET is answered, and addresses that are right below a path."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.support.fakes import Network, Suite, agent, serving

BASE = "http://box/muster"


@pytest.mark.parametrize(
    "path",
    [
        *("/health", "/ready", "/metrics", "/agents", "/tasks", "/stats", "/v1/models", "/docs", "/openapi.json"),
        *("/.well-known/agent-card.json", "/agents/one", "/agents/one/health", "/tasks/{id}", "/tasks/{id}/report"),
    ],
)
async def test_head_is_get_without_its_body(network: Network, path: str) -> None:
    """Monitors ask with HEAD, also through the gateway."""
    async with Suite(network, agent("one", "one")) as suite, serving(suite.app, lifespan=False) as url:
        task = await suite.execute(plan=[{"id": "a", "capability": "one"}])
        async with httpx.AsyncClient(base_url=url) as client:
            path = path.format(id=task.task_id)
            head, whole = await client.head(path), await client.get(path)

    assert (head.status_code, head.content) == (whole.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]


async def test_head_of_a_stream_ends(coordinator: Suite) -> None:
    """The events of a task that never ends are not waited for."""
    await coordinator.add(agent("slow", "slow", run=lambda step, ctx: asyncio.sleep(3_600)))
    task_id = await coordinator.begin(plan=[{"id": "a", "capability": "slow"}])
    async with serving(coordinator.app, lifespan=False) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        answer = await client.head(f"/tasks/{task_id}/events")
        refused = await client.head("/execute_task")

    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert refused.status_code == 405
    assert (await coordinator.client.put("/tasks")).headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("passed_on", ["", "/muster"])
async def test_below_a_path_addresses_have_it(network: Network, passed_on: str) -> None:
    """Behind a proxy at a path, whether it passes the path on or not, Location, links and /docs lead back to it."""
    async with Suite(network, agent("one", "one"), public_url=BASE, api_key="k") as suite:
        body = {"task_description": "x", "plan": [{"id": "a", "capability": "one"}]}
        done = await suite.client.post(f"{passed_on}/execute_task", json=body)
        later = await suite.client.post(
            f"{passed_on}/execute_task", json=body, headers={"Prefer": "respond-async", "Accept": "application/json"}
        )
        seen = await suite.client.get(f"{passed_on}/tasks/{done.json()['task_id']}")
        docs = await suite.client.get(f"{passed_on}/docs")
        described = (await suite.client.get(f"{passed_on}/openapi.json")).json()
        through = await suite.client.get(f"{passed_on}/agents/one/health")
        free = await suite.client.get(f"{passed_on}/health", headers={"Authorization": ""})

    at = f"/muster/tasks/{done.json()['task_id']}"
    assert (done.status_code, done.headers["location"]) == (200, at)
    assert later.headers["location"] == f"/muster/tasks/{later.json()['task_id']}"
    assert seen.json()["links"] == {
        "self": at,
        "events": f"{at}/events",
        "report": f"{at}/report",
        "cancel": f"{at}/cancel",
    }
    assert "'/muster/openapi.json'" in docs.text
    assert 'src="/muster/docs/swagger-ui-bundle.js"' in docs.text
    assert [server["url"] for server in described["servers"]] == ["/muster"]
    assert (through.json()["name"], free.status_code) == ("one", 200)
