"""In a suite with a key, a worker answers only what its coordinator has signed; the gateway signs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared.agent import Agent
from shared.limits.envelope import HEADER, derive_key
from shared.limits.passing import seal_passing
from tests.support.fakes import Network, Suite, agent

OPEN = (
    "/health",
    "/ready",
    "/metrics",
    "/.well-known/agent-card.json",
    "/.well-known/agent",
    "/.well-known/agent.json",
)
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}
MINE = [
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/a2a", {}),
    ("POST", "/", {}),
    ("POST", "/a2a/rest/v1/message:send", {}),
    ("GET", "/memory/events", None),
    ("GET", "/memory/sessions", None),
    ("GET", "/v1/models", None),
    ("GET", "/tools", None),
    ("GET", "/openapi.json", None),
    ("POST", "/execute", {"task_id": "t", "step_id": "s"}),
    ("DELETE", "/execute/t/s", None),
    ("GET", "/executes", None),
    ("GET", "//health", None),
    ("GET", "/health/", None),
]


def behind(network: Network, name: str = "echo") -> httpx.AsyncClient:
    """Speaks to a worker behind the coordinator's back."""
    return httpx.AsyncClient(transport=network, base_url=f"http://{name}")


async def test_worker_with_a_key_answers_its_coordinator_only(network: Network) -> None:
    async with Suite(network, agent("echo", "echo"), api_key="key") as suite, behind(network) as client:
        shut = [await client.request(method, path, json=body) for method, path, body in MINE]
        free = [await client.get(path) for path in OPEN]
        keyed = await client.get("/memory/events", headers={"Authorization": "Bearer key"})
        chat = await suite.client.post("/agents/echo/v1/chat/completions", json=CHAT)
        memory = await suite.client.get("/agents/echo/memory/events?limit=5&session_id=a%20b")

    assert {(a.status_code, "envelope_refused" in a.text or "error" in a.json()) for a in shut} == {(401, True)}
    assert ({a.status_code for a in free}, keyed.status_code) == ({200}, 401)
    assert (chat.status_code, chat.json()["object"]) == (200, "chat.completion")
    assert memory.status_code == 200


@pytest.mark.parametrize("how", [{}, {"api_key": "key"}])
async def test_alone_or_without_a_key_all_is_open(how: dict[str, Any], network: Network) -> None:
    """A worker that has no coordinator, and a suite that has no key."""
    from tests.support.fakes import create_worker_app, worker_settings

    async with Suite(network, agent("echo", "echo")):
        app = create_worker_app(agent("alone", "echo"), settings=worker_settings(**how), inner=network)
        network.host("alone", app)
        async with app.router.lifespan_context(app), behind(network, "alone") as alone, behind(network) as client:
            for one in (alone, client):
                assert (await one.post("/v1/chat/completions", json=CHAT)).status_code == 200
                assert (await one.get("/memory/events")).status_code == 200


async def test_signature_is_for_one_worker_and_request(network: Network) -> None:
    """For its method, its path with its query, and its body."""
    async with Suite(network, agent("echo", "echo"), agent("other", "echo"), api_key="key") as suite:
        ids = {name: (await suite.agents())[name].agent_id for name in ("echo", "other")}
        key, theirs = (derive_key(suite.services.secret, ids[name]) for name in ("echo", "other"))
        good = ("GET", "/memory/events?limit=5", key, b"")
        bad = [
            ("GET", "/memory/events", key, b""),
            ("GET", "/memory/events?limit=6", key, b""),
            ("POST", "/memory/events?limit=5", key, b""),
            ("GET", "/memory/events?limit=5", theirs, b""),
            ("GET", "/memory/events?limit=5", key, b"x"),
        ]
        async with behind(network) as client:
            answers = [
                await client.get(
                    "/memory/events?limit=5",
                    headers={HEADER: seal_passing(method, target, key=signer, body=body, milliseconds=1_000)},
                )
                for method, target, signer, body in (good, *bad)
            ]
        step = await suite.execute(agents=["echo"])

    assert [answer.status_code for answer in answers] == [200, 401, 401, 401, 401, 401]
    assert step.status == "completed"


async def test_gateway_forwards_no_signature_of_a_caller(network: Network) -> None:
    async with Suite(network, agent("echo", "echo"), api_key="key") as suite:
        answer = await suite.client.get("/agents/echo/memory/events", headers={HEADER: "mine"})

    assert answer.status_code == 200
    assert len(network.calls("echo", "/memory")[-1].headers.get_list(HEADER)) == 1


async def test_sources_are_read_from_a_worker_with_a_key(network: Network) -> None:
    """Passages are words of documents: the researcher shows them to its coordinator."""
    from fastapi import APIRouter

    router = APIRouter()

    @router.get("/passages/{id}")
    async def passage(id: str) -> dict[str, str]:
        return {"id": id}

    one = agent("echo", "echo")
    seen = Agent(one.name, one.description, one.capabilities, one.run, routes=lambda _: router)
    async with Suite(network, seen, api_key="key") as suite, behind(network) as client:
        shut, through = await client.get("/passages/1"), await suite.client.get("/agents/echo/passages/1")

    assert (shut.status_code, through.json()) == (401, {"id": "1"})
