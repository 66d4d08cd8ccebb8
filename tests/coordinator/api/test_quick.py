"""The short way to run a task says what FastAPI's own says."""

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
