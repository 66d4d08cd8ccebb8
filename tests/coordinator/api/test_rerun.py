"""`POST /tasks/{id}/rerun`: what is taken over, what is shown of it, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from coordinator.access.keys import make_key
from shared.contracts import TaskView, Usage
from tests.support.fakes import FILE_AND_SERVER, Held, Network, Suite, agent, eventually

pytestmark = FILE_AND_SERVER
PLAN = [
    {"id": "find", "capability": "work", "input": "x" * 200_000},
    {"id": "join", "capability": "join", "needs": ["find"]},
]
FIND = agent("finder", "work")
JOIN = agent("joiner", "join")


async def again(suite: Suite, task_id: str, *, headers: Any = None, **wish: Any) -> Any:
    return await suite.client.post(f"/tasks/{task_id}/rerun", json=wish, headers=headers)


async def run_again(suite: Suite, task_id: str, **wish: Any) -> TaskView:
    """The re-run of a task, however it ended."""
    body = (await again(suite, task_id, **wish)).json()
    return TaskView.model_validate(body.get("task", body))


async def test_finished_steps_are_not_run_again(coordinator: Suite) -> None:
    """They are there with their output and usage, and the task spends only its own."""
    await coordinator.add(FIND)
    await coordinator.add(JOIN)
    first = await coordinator.execute(plan=PLAN, max_calls=2, priority=7)

    child = await run_again(coordinator, first.task_id, from_step="join", inputs={"join": "new"})

    assert (child.status, child.task_description) == ("completed", first.task_description)
    assert len(coordinator.network.calls("finder")) == 1
    [found, joined] = child.results
    assert found.model_copy(update={"taken_from": None}) == first.results[0]
    assert found.taken_from == first.task_id
    assert joined.output == {"by": "joiner", "input": "new", "upstream": ["find"]}
    assert joined.taken_from is None
    assert child.rerun is not None
    assert child.rerun.model_dump() == {
        "parent": first.task_id,
        "from_step": "join",
        "taken_over": ["find"],
        "usage": Usage(calls=1).model_dump(),
    }
    assert child.usage == Usage(calls=1)


async def test_plain_tasks_have_no_new_fields(coordinator: Suite) -> None:
    await coordinator.add(FIND)
    first = await coordinator.execute(plan=PLAN[:1])

    seen = (await coordinator.client.get(f"/tasks/{first.task_id}")).json()

    assert "rerun" not in seen
    assert "taken_from" not in seen["results"][0]


async def test_a_child_of_a_child_outlives_its_parents(coordinator: Suite) -> None:
    """Each names its parent, also when that has been pruned."""
    await coordinator.add(FIND)
    await coordinator.add(JOIN)
    first = await coordinator.execute(plan=PLAN)
    child = await run_again(coordinator, first.task_id, from_step="join")
    await coordinator.services.store.prune(before=first.finished_at.timestamp() + 0.000_1)

    grandchild = await run_again(coordinator, child.task_id, from_step="join")

    assert (await again(coordinator, first.task_id)).status_code == 404
    assert grandchild.status == "completed"
    assert grandchild.rerun is not None
    assert grandchild.rerun.parent == child.task_id
    assert grandchild.results[0].taken_from == first.task_id
    assert len(coordinator.network.calls("finder")) == 1


async def test_a_whole_task_runs_again_with_more_time(coordinator: Suite) -> None:
    """A task that timed out may be given more time, calls and tokens."""
    await coordinator.add(FIND)
    coordinator.network.delay("finder", 0.6)
    first = await coordinator.execute(plan=PLAN[:1], timeout_seconds=0.3, max_calls=1)

    child = await run_again(coordinator, first.task_id, timeout_seconds=20.0, max_calls=3)

    assert (first.status, child.status) == ("timed_out", "completed")
    assert (child.deadline - child.created_at).total_seconds() == pytest.approx(20)


async def test_a_running_task_is_refused(coordinator: Suite) -> None:
    held = Held()
    await coordinator.add(agent("finder", "work", held))
    task_id = await coordinator.begin(plan=PLAN[:1])
    await eventually(lambda: held.began)

    refused = await again(coordinator, task_id)
    held.let_go.set()

    assert refused.status_code == 409
    assert refused.json()["detail"].startswith(f"Task {task_id} is running")


async def test_what_makes_no_sense_is_refused(coordinator: Suite) -> None:
    await coordinator.add(FIND)
    first = await coordinator.execute(plan=[{"id": "find", "agent": "finder"}])
    await coordinator.remove("finder")
    await eventually(lambda: not coordinator.services.agents.registry.list_names())
    wishes = ({"from_step": "none"}, {"inputs": {"none": 1}}, {"from_step": 1}, {"unknown": 1}, {"max_calls": 0}, {})

    answers = [await again(coordinator, first.task_id, **wish) for wish in wishes]

    assert [a.status_code for a in answers] == [422] * 6
    assert "'finder' of step 'find' is no longer registered" in answers[-1].json()["detail"]
    assert (await again(coordinator, "none")).status_code == 404
    nothing = await coordinator.client.post(f"/tasks/{first.task_id}/rerun", content=b"[]")
    assert nothing.status_code == 422


async def test_twice_at_once_with_a_key_is_one_task(coordinator: Suite) -> None:
    """The same key with another wish, or for another task, is refused."""
    await coordinator.add(FIND)
    first = await coordinator.execute(plan=PLAN[:1])
    key = {"Idempotency-Key": "night-1", "Prefer": "respond-async"}

    answers = await asyncio.gather(*(again(coordinator, first.task_id, headers=key) for _ in range(4)))

    assert {a.status_code for a in answers} == {202}
    [child] = {a.json()["task_id"] for a in answers}
    assert (await again(coordinator, first.task_id, headers=key, from_step="find")).status_code == 422
    await coordinator.ended(child)
    assert (await again(coordinator, child, headers=key)).status_code == 422
    assert len({(await again(coordinator, first.task_id)).json()["task_id"] for _ in range(2)}) == 2


async def test_a_restart_keeps_what_was_taken(network: Network, journal_url: str) -> None:
    """A restart runs only what is left, and the steps taken over are not in the limits of the new task."""
    held, settings = Held(), {"database_url": journal_url}
    async with Suite(network, FIND, JOIN, **settings) as suite:
        first = await suite.execute(plan=PLAN)
        await suite.remove("joiner")
        await suite.add(agent("held", "join", held))
        wish = {"from_step": "join", "max_calls": 2}  # one is cut off, one is left
        child = (await again(suite, first.task_id, headers={"Prefer": "respond-async"}, **wish)).json()["task_id"]
        await eventually(lambda: held.began)
        assert (await again(suite, child)).status_code == 409
    held.let_go.set()

    async with Suite(Network(), FIND, agent("held", "join", held), **settings) as suite:
        ended = await suite.ended(child)

        assert ended.rerun is not None
        assert ended.rerun.taken_over == ["find"]
        assert ended.results[0].output == first.results[0].output
        assert suite.network.calls("finder") == []
        assert (ended.status, ended.usage.calls) == ("completed", 2)


async def test_running_again_needs_execute(network: Network, tmp_path: Path, journal_url: str) -> None:
    keys = tmp_path / "keys"
    reader, caller = make_key(keys, "reader", ["read"]), make_key(keys, "caller", ["execute"])
    async with Suite(network, api_key="s3cret", keys_file=keys, database_url=journal_url) as suite:
        answers = [await again(suite, "none", headers={"Authorization": f"Bearer {key}"}) for key in (reader, caller)]

    assert [a.status_code for a in answers] == [403, 404]


async def test_a_stream_tells_what_was_taken(coordinator: Suite) -> None:
    await coordinator.add(FIND)
    await coordinator.add(JOIN)
    first = await coordinator.execute(plan=PLAN)

    told = await again(coordinator, first.task_id, headers={"Accept": "text/event-stream"}, from_step="join")

    assert f'"rerun":{{"of":"{first.task_id}","from_step":"join","taken":{{"find":"{first.task_id}"}}}}' in told.text
    assert "event: result" in told.text
