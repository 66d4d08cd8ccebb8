"""A task that the coordinator may die of is not run for ever; the others go on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from coordinator.execution import starts
from coordinator.execution.starts import Starts
from coordinator.journal.checking import FUNCTIONS
from coordinator.journal.migrations import MIGRATIONS
from coordinator.tasks.task import Step, Task
from shared.contracts import Status
from shared.db.memory import MemoryDatabase
from tests.support.fakes import eventually
from tests.support.processes import suite


@pytest.fixture
async def db(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemoryDatabase]:
    monkeypatch.setattr(starts, "BLAMED_AFTER_SECONDS", 0)
    db = MemoryDatabase()
    await db.open(MIGRATIONS, FUNCTIONS)
    yield db
    await db.close()


def task(id: str, *, ended: int = 0, started: bool = True) -> Task:
    steps = tuple(Step(id=f"s{n}", status=Status.COMPLETED if n < ended else Status.QUEUED) for n in range(9))
    task = Task(id=id, description="Work", created_at=0.0, deadline=9.0, steps=steps)
    return replace(task, started_at=1.0 if started else None)


async def begin(db: MemoryDatabase, *tasks: Task, late: bool = True) -> set[str]:
    """A start with these open tasks, which dies; whom it blames."""
    start = Starts(db)
    blamed = await start.begin(tasks)
    if late:
        await start.blame_later()
    return blamed


async def test_third_death_with_a_task_counts(db: MemoryDatabase) -> None:
    """A task that came later, that only waits, or whose steps end is not blamed."""
    for ended in range(3):
        waits, moves = task("waits", started=False), task("moves", ended=ended)
        assert await begin(db, task("poison"), waits, moves, *([task("late")] if ended else [])) == set()

    assert await begin(db, task("poison"), task("late"), task("moves", ended=3), task("waits")) == {"poison"}


async def test_early_death_does_not_count(db: MemoryDatabase) -> None:
    """A start that dies at once carried nothing; it does not make an earlier death count twice."""
    await begin(db, task("long"))
    for _ in range(9):
        assert await begin(db, task("long"), late=False) == set()


async def test_stops_are_no_deaths(db: MemoryDatabase) -> None:
    for _ in range(9):
        start = Starts(db)
        assert await start.begin([task("long")]) == set()
        await start.blame_later()
        await start.end()


async def test_task_of_four_deaths_is_quarantined(tmp_path: Path) -> None:
    """It was at work at three starts that ended in `kill -9`; the next one ends it with the reason."""
    plan = [{"id": "s", "agent": "plain", "input": {"hang": True}}]
    hang = {"task_description": "Poison", "timeout_seconds": 300, "plan": plan}
    quick = {"task_description": "Work", "plan": [{"id": "s", "agent": "plain"}]}
    with suite(tmp_path) as (coordinator, agents):

        def blames() -> bool:
            with sqlite3.connect(f"file:{coordinator.journal}?mode=ro", uri=True) as journal:
                [[value]] = journal.execute("SELECT value FROM meta WHERE key = 'starts'").fetchall()
                started = journal.execute("SELECT count(*) FROM tasks WHERE started_at IS NOT NULL").fetchone()[0]
            return bool(json.loads(value)["blamed"]) and started == 1

        async with httpx.AsyncClient(base_url=coordinator.url, timeout=60) as client:
            poison = (await client.post("/execute_task", json=hang, headers={"Prefer": "respond-async"})).json()
            for _ in range(4):
                await eventually(blames, seconds=60)
                coordinator.kill()
                coordinator.start().ready()

            async def ended() -> dict[str, object] | None:
                task = (await client.get(f"/tasks/{poison['task_id']}")).json()
                return task if task["finished_at"] else None

            task = await eventually(ended, seconds=30)
            agents.register()
            other = (await client.post("/execute_task", json=quick)).json()

    assert task["status"] == "failed"
    assert "The coordinator crashed 3 times in a row" in task["results"][0]["error"]["detail"]
    assert other["status"] == "completed"
