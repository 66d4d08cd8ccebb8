"""The conductor's races: a task ends once, shows no end that is not durable, and leaves nobody waiting."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.execution.dispatcher import Dispatcher
from coordinator.tasks.task import Task
from shared.contracts import Status, TaskRequest
from shared.limits.ledger import Ledger
from tests.support.fakes import Held, Network, Suite, agent, eventually

PLAN = [{"id": "a", "capability": "work"}, {"id": "b", "capability": "work", "needs": ["a"]}]
REQUEST = TaskRequest.model_validate({"task_description": "Work", "timeout_seconds": 20.0, "plan": PLAN})


def dispatcher_of(suite: Suite) -> Dispatcher:
    dispatcher: Dispatcher = suite.services.dispatcher
    return dispatcher


async def test_early_cancel_ends_the_task(coordinator: Suite) -> None:
    """A cancel before the task's first turn ends it."""
    dispatcher = dispatcher_of(coordinator)

    task, _ = await dispatcher.accept(REQUEST)
    await dispatcher.cancel(task.id)

    async with asyncio.timeout(5):
        ended = await dispatcher.wait_for_end(task.id)
    assert ended.status is Status.CANCELLED
    assert {s.status for s in ended.steps} == {Status.CANCELLED}


@pytest.mark.parametrize(("key", "status"), [("the-one", Status.COMPLETED), (None, Status.CANCELLED)])
async def test_caller_that_leaves_early_leaves_no_orphan(coordinator: Suite, key: str | None, status: Status) -> None:
    """Its row is written all the same: it ends, with work where somebody may come back with the key."""
    dispatcher, store = dispatcher_of(coordinator), coordinator.services.store
    await coordinator.add(agent("worker", "work"))
    accept = store.accept

    async def accept_and_leave(task: Task) -> bool:
        asking.cancel()
        return bool(await accept(task))

    store.accept = accept_and_leave
    asking = asyncio.create_task(dispatcher.accept(REQUEST, idempotency_key=key))
    await asyncio.wait({asking})

    assert asking.cancelled()
    [line] = await store.list_tasks()
    async with asyncio.timeout(5):
        assert (await dispatcher.wait_for_end(line.id)).status is status


async def test_reader_between_commit_and_start_waits(coordinator: Suite) -> None:
    """A second caller with the same key may find the task in the journal before the first one has begun it."""
    dispatcher, store = dispatcher_of(coordinator), coordinator.services.store
    await coordinator.add(agent("worker", "work"))
    accepted, _ = await dispatcher.accept(REQUEST)
    await dispatcher.wait_for_end(accepted.id)
    steps = tuple(replace(s, status=Status.QUEUED, output=None, attempt=0) for s in accepted.steps)
    task: Task = replace(accepted, id="between", steps=steps)
    await store.accept(task)

    waiting = asyncio.create_task(dispatcher.wait_for_end("between"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert await dispatcher.recover() == 1
    await dispatcher.resume()

    async with asyncio.timeout(5):
        assert (await waiting).status is Status.COMPLETED


async def test_second_result_is_counted_and_not_merged(coordinator: Suite) -> None:
    """Somebody else's result was there first: the task goes on with that one."""
    held = Held(output="second")
    await coordinator.add(agent("worker", "work", held))
    plan = [{"id": "a", "capability": "work"}]
    task_id = await coordinator.begin(plan=plan)
    await eventually(lambda: held.began)
    dispatcher, store = dispatcher_of(coordinator), coordinator.services.store
    running = await dispatcher.get_task(task_id)
    first = replace(running.steps[0], status=Status.COMPLETED, output="first", finished_at=running.created_at + 1)
    assert await store.finish_step(running, first, first_byte_at=None, ledger=Ledger())

    held.let_go.set()
    view = await coordinator.ended(task_id)

    assert [s.output for s in view.results] == ["first"]
    events = await store.events(task_id)
    assert [e.type for e in events].count("step.finished") == 1
    assert [e.fields for e in events if e.type == "step.late"] == [{"step_id": "a", "attempt": 1}]
    assert "muster_late_results_total 1.0" in (await coordinator.client.get("/metrics")).text


async def test_no_end_is_shown_before_it_is_durable(network: Network, tmp_path: Path) -> None:
    """A kill in this moment would take the end back."""
    reached, go, left = threading.Event(), threading.Event(), 2

    def at(point: str) -> None:
        nonlocal left
        left -= point == "store.finish_step.written"
        if left == 0 and not reached.is_set():  # the second step's, and with it the task's
            reached.set()
            go.wait(10)

    settings = {"database_url": f"sqlite:///{tmp_path}/muster.db"}
    async with Suite(network, agent("worker", "work"), app={"at": at}, **settings) as suite:
        task_id = await suite.begin(plan=PLAN)
        await asyncio.to_thread(reached.wait, 10)

        before = await suite.task(task_id)
        go.set()
        after = await suite.ended(task_id)

    assert (before.status, [s.status for s in before.results]) == ("running", ["completed", "running"])
    assert after.status == "completed"


async def test_accepted_cancel_is_finished_before_the_stop(network: Network, tmp_path: Path) -> None:
    """After the restart the task does not go on."""
    settings = {"database_url": f"sqlite:///{tmp_path}/muster.db"}
    async with Suite(network, agent("worker", "work", Held()), **settings) as suite:
        task_id = await suite.begin(plan=PLAN)
        await eventually(lambda: network.calls("worker"))
        assert (await suite.client.post(f"/tasks/{task_id}/cancel")).status_code == 202

    async with Suite(network, **settings) as again:
        assert (await again.task(task_id)).status == "cancelled"


@pytest.mark.parametrize("point", ["store.start_task", "store.finish_step"])
async def test_bug_in_a_task_costs_only_its_rest(
    coordinator: Suite, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The task ends as failed, says so, and gives its place back."""
    await coordinator.add(agent("worker", "work"))
    store, broken = coordinator.services.store, [True]
    name = point.removeprefix("store.")
    works = getattr(store, name)

    def breaks(*args: object, **named: object) -> object:
        if broken and broken.pop():
            raise ZeroDivisionError("a bug")
        return works(*args, **named)

    monkeypatch.setattr(store, name, breaks)

    view = await coordinator.execute(plan=PLAN, timeout_seconds=10.0)

    assert view.status in ("failed", "partial")
    assert "Internal error in the coordinator: ZeroDivisionError." in [m.why for m in view.missing]
    assert coordinator.services.admission.running == 0
    assert (await coordinator.execute(plan=PLAN)).status == "completed"


async def test_results_held_by_a_full_disk_are_written(network: Network, tmp_path: Path) -> None:
    """Even when the deadline passes meanwhile: what was done counts as done."""
    full = False

    def at(point: str) -> None:
        if full and point.endswith(".written"):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    settings = {"database_url": f"sqlite:///{tmp_path}/muster.db"}
    async with Suite(network, agent("worker", "work"), app={"at": at}, **settings) as suite:
        network.delay("worker", 0.2)
        task_id = await suite.begin(plan=PLAN, timeout_seconds=1.0)
        full = True
        await asyncio.sleep(1.5)
        assert (await suite.task(task_id)).status == "running"
        full = False

        view = await suite.ended(task_id)

    assert [(s.step_id, s.status) for s in view.results] == [("a", "completed"), ("b", "timed_out")]
    assert view.status == "partial"
    assert len(sent_steps(network)) == 1


def sent_steps(network: Network) -> list[object]:
    """Steps that were sent to the worker."""
    return [r for r in network.calls("worker") if r.method == "POST"]
