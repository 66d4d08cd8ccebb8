"""`GET /tasks/{id}/why`: as JSON, as text, of a task that was cut off by a restart, and of none."""

from __future__ import annotations

import asyncio

import httpx

from tests.support.fakes import FILE_AND_SERVER, Held, Network, Suite, agent, eventually

pytestmark = FILE_AND_SERVER
PLAN = [{"id": "find", "capability": "work"}, {"id": "join", "capability": "work", "needs": ["find"]}]


async def test_the_cause_is_told_in_three_forms(coordinator: Suite) -> None:
    async def refuses(request: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"detail": "no such field"})

    await coordinator.add(agent("worker", "work"))
    coordinator.network.answer("worker", refuses)
    task = await coordinator.execute(plan=PLAN)
    path = f"/tasks/{task.task_id}/why"

    seen = (await coordinator.client.get(path)).json()
    plain = await coordinator.client.get(path, headers={"Accept": "text/plain"})
    marked = await coordinator.client.get(path, headers={"Accept": "text/markdown"})

    cause = seen["causes"][0]
    assert (cause["kind"], cause["step_id"], cause["agent"]) == ("agent_refused", "find", "worker")
    assert [step["step_id"] for step in seen["critical_path"]] == ["find"]
    assert plain.text.splitlines() == seen["lines"]
    assert marked.text.splitlines() == [f"- {line}" for line in seen["lines"]]
    assert "Skipped because of that: join." in seen["lines"]


async def test_an_unknown_task_has_no_why(coordinator: Suite) -> None:
    assert (await coordinator.client.get("/tasks/none/why")).status_code == 404


async def test_a_restart_is_found_in_the_journal(network: Network, journal_url: str) -> None:
    held, settings = Held(), {"database_url": journal_url}
    async with Suite(network, agent("worker", "work", held), **settings) as suite:
        task_id = await suite.begin(plan=PLAN[:1])
        await eventually(lambda: held.began)
        await asyncio.sleep(0.3)
        await suite.services.dispatcher.close()  # before the worker stops
    held.let_go.set()

    async with Suite(Network(), agent("worker", "work", held), **settings) as suite:
        await suite.ended(task_id)
        seen = (await suite.client.get(f"/tasks/{task_id}/why")).json()

    assert [cause["kind"] for cause in seen["causes"]] == ["restart"]
