"""What A2A tasks leave behind in memory and on the disk: not more than is needed, however long the service runs."""

from __future__ import annotations

import asyncio

import pytest
from a2a.server.cluster import TaskVersion
from a2a.server.context import ServerCallContext
from a2a.types.a2a_pb2 import Task, TaskPushNotificationConfig, TaskState, TaskStatus

from shared.db.database import Statement
from shared.db.memory import MemoryDatabase
from shared.protocols.a2a import outbox as a2a_outbox
from shared.protocols.a2a import sql
from shared.protocols.a2a.store import Hooks, Tasks
from tests.support.fakes import eventually


async def test_old_tasks_are_forgotten_despite_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while there is always news to deliver."""
    monkeypatch.setattr(a2a_outbox, "PRUNE_SECONDS", 0.1)
    monkeypatch.setattr(a2a_outbox, "KEPT_TASKS", 2)
    db = MemoryDatabase()
    await db.open(sql.MIGRATIONS)
    for number in range(5):
        row = {"id": str(number), "context_id": "c", "state": 3, "phase": "ended", "updated": number, "body": b""}
        await db.write("save", Statement(sql.SAVE_TASK, row))
    running = asyncio.create_task(a2a_outbox.prune_forever(db))

    async def kept() -> bool:
        return [id for (id,) in await db.read("SELECT id FROM tasks ORDER BY id")] == ["3", "4"]

    await eventually(kept)
    running.cancel()
    await asyncio.wait({running})
    await db.close()


async def test_ended_task_is_no_longer_hooked() -> None:
    """Its last word is put into the outbox with its end; the ids would add up for as long as the service runs."""
    db = MemoryDatabase()
    await db.open(sql.MIGRATIONS)
    tasks = Tasks(db, news=lambda: None)
    hook, context = TaskPushNotificationConfig(url="http://hooks/done"), ServerCallContext()
    await Hooks(db, tasks, refusal=lambda _: None).set_info("t", hook, context)

    for state in (TaskState.TASK_STATE_WORKING, TaskState.TASK_STATE_COMPLETED):
        task = Task(id="t", context_id="c", status=TaskStatus(state=state))
        await tasks.save(task, event=task, prev=None, prev_version=TaskVersion.MISSING, context=context)

    assert await db.read("SELECT count(*) FROM outbox") == [(2,)]
    assert tasks.hooked == set()
    await db.close()
