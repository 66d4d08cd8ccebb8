"""The waterfall of a task, and its critical path."""

from __future__ import annotations

import asyncio

from coordinator.console.figures.waterfall import Waterfall, draw
from coordinator.explaining.timeline import read_timeline
from coordinator.journal.events import TaskEvent
from coordinator.tasks.task import Step, Task
from shared.contracts import Status


def step(id: str, began: float, ended: float | None, *needs: str, status: Status = Status.COMPLETED) -> Step:
    return Step(id=id, capability="x", needs=needs, status=status, attempt=1, started_at=began, finished_at=ended)


def task(*steps: Step, ended: float | None = None) -> Task:
    status = Status.RUNNING if ended is None else Status.COMPLETED
    return Task("t", "What?", 0.0, 100.0, status=status, steps=steps, started_at=1.0, finished_at=ended)


def event(id: int, type: str, at: float, **fields: object) -> TaskEvent:
    import json

    return TaskEvent(id, "t", type, at, json.dumps(fields))


def bars(fall: Waterfall, name: str) -> list[tuple[str, float, float]]:
    return [(bar.kind, bar.began, bar.ended) for row in fall.rows if row.name == name for bar in row.bars]


def fall_of(task: Task, events: list[TaskEvent], *, now: float) -> Waterfall:
    return draw(task, events, read_timeline(task, events, now=now))


def test_path_is_that_of_the_explanation() -> None:
    """Of two that a step needs, the one that ended last is on the path; none is before anything began."""
    whole = task(step("a", 1, 2), step("b", 1, 5), step("c", 5, 6, "a", "b"), step("d", 2, 3, "a"), ended=6)
    new = task(Step(id="a", capability="x"))

    assert (fall_of(whole, [], now=9).path, fall_of(new, [], now=9).path) == (("b", "c"), ())


def test_retry_shows_attempts_and_the_pause() -> None:
    """Wait, failed attempt, pause, good attempt; each from the event that began it to the one that ended it."""
    events = [
        event(1, "step.started", 2.0, step_id="a", attempt=1),
        event(2, "step.retried", 3.0, step_id="a", attempt=1, error="agent_busy", why="busy", wait_seconds=1),
        event(3, "step.started", 4.0, step_id="a", attempt=2),
        event(4, "step.finished", 6.0, step_id="a", attempt=2),
    ]

    fall = fall_of(task(step("a", 1, 6), ended=6), events, now=50.0)

    assert bars(fall, "a") == [("wait", 1.0, 2.0), ("failed", 2.0, 3.0), ("pause", 3.0, 4.0), ("run", 4.0, 6.0)]
    assert bars(fall, "queue") == [("queue", 0.0, 1.0)]


def test_delegations_stand_below_their_step() -> None:
    """Also those of a delegation; one that goes on ends now, one that was refused is a moment."""
    told = {"parent": "a", "agent": "b", "from": "x", "depth": 1}
    events = [
        event(1, "step.started", 1.0, step_id="a", attempt=1),
        event(2, "delegation.started", 2.0, step_id="a.1", **told),
        event(3, "delegation.started", 3.0, step_id="a.1.1", parent="a.1", agent="c", depth=2),
        event(4, "delegation.finished", 4.0, step_id="a.1.1", parent="a.1", status="completed", usage={"calls": 2}),
        event(5, "delegation.refused", 5.0, step_id="a.2", **(told | {"agent": "d", "why": "a loop"})),
    ]
    running = step("a", 1, None, status=Status.RUNNING)

    rows = {row.name: row for row in fall_of(task(running), events, now=9.0).rows}

    assert [row.depth for row in rows.values()] == [0, 0, 1, 2, 1]
    assert [(bar.began, bar.ended, bar.open) for bar in rows["asks b"].bars] == [(2.0, 9.0, True)]
    assert (rows["asks c"].calls, rows["asks c"].status) == (2, "completed")
    assert (rows["asks d"].status, rows["asks d"].note) == ("refused", "a loop")


def test_calls_stand_below_their_step() -> None:
    """Each model and tool has a row with its calls, from when they began in their attempt; none leaves it."""
    told = [
        {"kind": "model", "name": "m", "at": 0.5, "seconds": 1.0, "tokens": 7},
        {"kind": "model", "name": "m", "at": 2.0, "seconds": 9.0, "tokens": 3},
        {"kind": "tool", "name": "look", "at": 1.5, "seconds": 0.5, "error": "No."},
    ]
    events = [
        event(1, "step.started", 2.0, step_id="a", attempt=1),
        event(2, "step.finished", 6.0, step_id="a", attempt=1, calls=told),
    ]

    fall = fall_of(task(step("a", 2, 6), ended=6), events, now=9.0)

    assert bars(fall, "model m") == [("model", 2.5, 3.5), ("model", 4.0, 6.0)]
    assert bars(fall, "tool look") == [("failed", 3.5, 4.0)]
    assert [row.note for row in fall.rows if row.name == "model m"] == ["2 calls, 10 tokens"]


def test_second_call_of_a_slow_step_is_drawn() -> None:
    """From when it was sent to the step's end."""
    events = [
        event(1, "step.started", 2.0, step_id="a", attempt=1),
        event(2, "step.hedged", 4.0, step_id="a", attempt=1, agent="x", instance="x-2"),
        event(3, "step.finished", 6.0, step_id="a", attempt=1),
    ]

    assert bars(fall_of(task(step("a", 2, 6), ended=6), events, now=9.0), "second call") == [("call", 4.0, 6.0)]


def test_what_a_step_waits_for_is_named() -> None:
    """By the need that ended last, or by those that have not ended."""
    waiting = Step(id="c", capability="x", needs=("a", "b"))
    rows = fall_of(task(step("a", 1, 2), step("b", 1, None, status=Status.RUNNING), waiting), [], now=3.0).rows
    done = fall_of(task(step("a", 1, 2), step("b", 1, 5), step("c", 5, 6, "a", "b"), ended=6), [], now=9.0).rows

    assert (rows[-1].after, rows[-1].bars) == ("b", ())
    assert done[-1].after == "b"


async def test_a_real_task_is_drawn(suite) -> None:  # type: ignore[no-untyped-def]
    """Every step of the default plan has worked, on a path from the first to the last."""
    done = await suite.execute()
    found = await suite.services.dispatcher.get_task(done.task_id)
    events = await suite.services.store.events(done.task_id)

    fall = await asyncio.to_thread(fall_of, found, events, now=0.0)

    assert fall.path == ("research", "analyze", "report")
    assert all(row.worked > 0 for row in fall.rows if row.is_step)
    assert sum(row.worked for row in fall.rows) <= fall.ended - fall.began + 0.01
