"""The short ways say what FastAPI's own says."""

from __future__ import annotations

import pytest

from tests.support.fakes import Network, Suite

BODIES = ['{"task_description": "Why?"}', "{}", "nope", '{"task_description": "Why?", "colour": "blue"}', ""]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("headers", [{}, {"Prefer": "respond-async"}, {"Idempotency-Key": "a b"}], ids=str)
async def test_a_query_that_says_nothing_changes_nothing(body: str, headers: dict[str, str]) -> None:
    """With one, a request goes FastAPI's way."""
    async with Suite(Network()) as suite:
        short = await suite.client.post("/execute_task", content=body, headers=headers)
        long = await suite.client.post("/execute_task?view=full", content=body, headers=headers)

    changing = {"task_id", "task", "created_at", "deadline", "links", "started_at", "status"}
    kept = [{k: v for k, v in answer.json().items() if k not in changing} for answer in (short, long)]
    assert short.status_code == long.status_code
    assert kept[0] == kept[1]


REGISTRATION = '{"name": "one", "endpoint": "http://one", "capabilities": ["x"]}'


@pytest.mark.parametrize("body", [REGISTRATION, "{}", "nope", ""])
async def test_a_heartbeat_with_a_query_is_a_heartbeat(body: str) -> None:
    async with Suite(Network()) as suite:
        await suite.client.post("/register_agent?a=1", content=body)
        answers = [await suite.client.post(f"/register_agent{query}", content=body) for query in ("", "?a=1")]
        metrics = (await suite.client.get("/metrics")).text

    assert answers[0].status_code == answers[1].status_code
    assert answers[0].json() == answers[1].json()
    assert 'route="(none)"' not in metrics


async def test_other_methods_are_refused_as_before() -> None:
    async with Suite(Network()) as suite:
        answers = [await suite.client.get(path) for path in ("/execute_task", "/register_agent")]
        head = await suite.client.head("/health")

    assert [answer.status_code for answer in answers] == [405, 405]
    assert (head.status_code, head.content) == (200, b"")
