"""What is usual for an agent, as each kind of journal knows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from coordinator.explaining.facts import explain_task
from coordinator.journal import packed
from coordinator.journal.store import Store
from coordinator.tasks.task import Step, Task
from shared.contracts import Status
from shared.db.database import Database
from shared.limits.ledger import Ledger


class Clock:
    """The wall clock of the store: Unix seconds."""

    at = 0.0

    def read(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(database: Database, clock: Clock) -> AsyncIterator[Store]:
    store = Store(database, publish=lambda event: None, wall=clock.read)
    await store.open()
    yield store
    await store.close()


async def carry(store: Store, clock: Clock, number: int, *, seconds: float, agent: str = "worker", **step: Any) -> Task:
    """A task of one step that took so long, which has ended."""
    at = 1_000.0 + 100 * number
    planned = Step(id="only", capability="work")
    task = Task(id=f"t{number}", description="Work", created_at=at, deadline=at + 60, steps=(planned,))
    said: dict[str, Any] = {"status": Status.COMPLETED, "attempt": 1, "answered_by": agent, "output": "done"}
    done = replace(planned, **said | {"instance": "w-1", "started_at": at, "finished_at": at + seconds} | step)
    clock.at = at
    await store.accept(task)
    task = replace(task, started_at=at)
    sent = replace(done, status=Status.RUNNING)
    store.start_attempt(task, sent, agent=agent, queued_at=at, ledger=Ledger())
    await store.attempts_written()
    clock.at = at + seconds
    await store.finish_step(task, done, first_byte_at=None, ledger=Ledger())
    task = replace(task, status=Status.COMPLETED, finished_at=at + seconds, steps=(done,))
    await store.finish_task(task)
    return task


@pytest.mark.parametrize("output", ["small", "x" * (packed.MOST + 1)], ids=["small", "large"])
async def test_a_slow_agent_is_known_by_its_peers(store: Store, clock: Clock, output: str) -> None:
    """However large the tasks before were, and so wherever the journal keeps their steps."""
    for number in range(5):
        await carry(store, clock, number, seconds=0.1, output=output)

    slow = await carry(store, clock, 9, seconds=5.0)
    explained = await explain_task(slow, store, now=0.0)

    assert [cause.kind for cause in explained.causes] == ["agent_slow"]


@pytest.mark.parametrize("other", [{"agent": "another"}, {"attempt": 2}, {"failed_attempts": 1}])
async def test_nothing_is_usual_by_other_steps(store: Store, clock: Clock, other: dict[str, Any]) -> None:
    """Those of another agent, and those that did not go well at once."""
    for number in range(5):
        await carry(store, clock, number, seconds=0.1, **other)

    slow = await carry(store, clock, 9, seconds=5.0)

    assert (await explain_task(slow, store, now=0.0)).causes == ()


async def test_later_tasks_are_not_usual_yet(store: Store, clock: Clock) -> None:
    for number in range(10, 15):
        await carry(store, clock, number, seconds=0.1)

    slow = await carry(store, clock, 9, seconds=5.0)

    assert (await explain_task(slow, store, now=0.0)).causes == ()
