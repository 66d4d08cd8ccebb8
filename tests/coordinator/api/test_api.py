"""What the coordinator tells about itself: health, readiness, its routes as OpenAPI, ids on every answer."""

from __future__ import annotations

import httpx
import pytest

from coordinator.app import create_app
from shared.errors import StorageBroken
from tests.support.fakes import Suite, coordinator_settings


async def test_health_says_who_answers_and_for_how_long(coordinator: Suite) -> None:
    body = (await coordinator.client.get("/health")).json()

    assert (body["status"], body["name"]) == ("healthy", "coordinator")
    assert body["version"]
    assert 0 <= body["uptime_seconds"] < 10


async def test_ready_says_no_before_the_start_and_yes_after() -> None:
    app = create_app(coordinator_settings())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://coordinator") as client:
        before = await client.get("/ready")
        asked = await client.post("/execute_task", json={"task_description": "x"})
        async with app.router.lifespan_context(app):
            during = await client.get("/ready")

    assert (before.status_code, before.json()["missing"]) == (503, "starting")
    assert (asked.status_code, asked.json()["type"]) == (503, "urn:muster:problem:unavailable")
    assert (during.status_code, during.json()["status"]) == (200, "ready")


async def test_ready_asks_for_no_agent(coordinator: Suite) -> None:
    assert (await coordinator.client.get("/ready")).status_code == 200


async def test_the_routes_are_described_with_their_bodies(coordinator: Suite) -> None:
    routes = (await coordinator.client.get("/openapi.json")).json()["paths"]

    for method, path in (
        ("post", "/register_agent"), ("post", "/execute_task"), ("get", "/tasks"), ("get", "/tasks/{task_id}"),
        ("get", "/tasks/{task_id}/events"), ("post", "/tasks/{task_id}/cancel"), ("get", "/tasks/{task_id}/report"),
        ("get", "/agents"), ("get", "/agents/{name}"), ("delete", "/agents/{agent_id}"), ("get", "/stats"),
        ("get", "/health"), ("get", "/ready"), ("get", "/metrics"),
    ):  # fmt: skip
        assert method in routes[path], path
    body = routes["/execute_task"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"task_description", "timeout_seconds", "plan", "agents"} <= set(body["properties"])


async def test_every_answer_has_a_request_id_of_its_own(coordinator: Suite) -> None:
    answers = [await coordinator.client.get(path) for path in ("/health", "/tasks", "/tasks/x", "/nowhere", "/stats")]

    assert len({a.headers["x-request-id"] for a in answers}) == len(answers)


@pytest.mark.parametrize("url", ["postgres:x", "sqlite://relative", "sqlite:///", "mysql://u:secret@h/d", ""])
async def test_meaningless_database_url_is_explained(url: str) -> None:
    """A database URL that means nothing is told in a sentence."""
    app = create_app(coordinator_settings(database_url=url))

    with pytest.raises(StorageBroken, match="DATABASE_URL") as broken:
        async with app.router.lifespan_context(app):
            pass
    assert "secret" not in str(broken.value)
