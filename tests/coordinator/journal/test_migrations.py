"""A journal of an earlier format: all of it stays readable, and a kill in the middle of its change costs nothing."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordinator.journal.migrations import MIGRATIONS
from coordinator.journal.store import Store
from shared.db.sqlite import Sqlite
from tests.support.processes import Coordinator

AT = round(time.time()) - 100_000 + 0.25
PLAN = [
    {"id": "a", "capability": "plain", "agent": None, "needs": [], "input": None, "timeout_seconds": None,
     "on_failure": "fail", "needs_any": False, "latest": 1.0},
    {"id": "b", "capability": None, "agent": "worker", "needs": ["a"], "input": {"x": 1}, "timeout_seconds": 5.0,
     "on_failure": "continue", "needs_any": True, "latest": 0.7},
]  # fmt: skip
USAGE = '{"calls":1,"input_tokens":2,"output_tokens":3}'


def of_format_1(path: Path, *, ended: int, open: int) -> None:
    """A file as the first format's program left it: tasks `e0` … that ended, and `o0` … that had not."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{MIGRATIONS[0]}; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;")
        for number in range(ended):
            _task(connection, f"e{number}", status=("completed", "failed")[number % 2], at=AT + number, over=True)
        for number in range(open):
            _task(connection, f"o{number}", status="running", at=AT + 1_000 + number, over=False)
        connection.commit()


def _task(connection: sqlite3.Connection, id: str, *, status: str, at: float, over: bool) -> None:
    def add(table: str, **values: Any) -> None:
        places = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", tuple(values.values()))

    request = {"context": {"n": 1}, "format": "html", "max_calls": None, "max_tokens": 900, "webhook_url": None}
    add("tasks", id=id, tenant="default", status=status, description=f"Work {id}", request=json.dumps(request),
        priority=7, created_at=at, deadline=at + 1e9, started_at=at + 0.1, finished_at=at + 2.5 if over else None,
        idempotency_key=f"key-{id}", request_digest="d", traceparent="00-tp", plan=json.dumps(PLAN),
        code_version="0.1.0")  # fmt: skip
    add("steps", task_id=id, step_id="a", status="completed", attempt=1, instance="p-1", answered_by="plain",
        output='{"text": "found"}', usage=USAGE, started_at=at + 0.2, finished_at=at + 1.125)  # fmt: skip
    if over:
        add("steps", task_id=id, step_id="b", status=status, attempt=2, instance="w-1", answered_by="worker",
            output='"done"' if status == "completed" else None, usage=USAGE, started_at=at + 1.2, finished_at=at + 2.0,
            error=None if status == "completed" else '{"type":"agent_error","detail":"Broke."}')  # fmt: skip
        add("late_results", task_id=id, step_id="b", attempt=1, arrived_at=at + 3, result='"late"')
        add("webhooks", task_id=id, url="https://example.org/", attempts=8, next_at=None)
    else:
        add("steps", task_id=id, step_id="b", status="queued", attempt=0)
    for step, attempt, state in (("a", 1, "completed"), ("b", 1, "failed")):
        add("attempts", task_id=id, step_id=step, attempt=attempt, agent_id="x", sent_at=at + 0.3, ended_at=at + 0.9,
            status=state)  # fmt: skip
    for number, type in enumerate(("task.accepted", "task.planned", *(["task.finished"] if over else []))):
        add("events", task_id=id, type=type, at=at + number, data='{"status": "x"}')


async def test_what_an_earlier_format_has_stays_readable(tmp_path):
    """Tasks with their steps, events, keys, in every list; those that were open go on with what they had."""
    of_format_1(tmp_path / "muster.db", ended=4, open=1)
    store = Store(Sqlite(tmp_path / "muster.db"), publish=lambda _: None, wall=lambda: AT)
    await store.open()

    done, failed, again = await store.task("e0"), await store.task("e1"), await store.task_by_key("default", "key-e0")
    listed = {
        str(filters): [line.id for line in await store.list_tasks(**filters)]
        for filters in ({}, {"status": "failed"}, {"agent": "worker"}, {"agent": "worker", "status": "failed"},
                        {"since": AT + 3}, {"agent": "nobody"})
    }  # fmt: skip
    events = await store.events("e0")
    [open_task] = await store.open_tasks()
    pruned = await store.prune(before=AT + 3.0)
    with closing(sqlite3.connect(tmp_path / "muster.db")) as file:
        left = {
            table: file.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("history", "task_agents", "steps", "events", "late_results", "webhooks")
        }
    await store.close()

    assert done == again
    assert failed.step("b").error.detail == "Broke."
    assert (done.status, done.finished_at, done.max_tokens, done.context) == ("completed", AT + 2.5, 900, {"n": 1})
    assert [(s.id, s.output, s.attempt, s.usage.calls) for s in done.steps] == [
        ("a", {"text": "found"}, 1, 1),
        ("b", "done", 2, 1),
    ]
    assert (done.steps[1].needs, done.steps[1].input, done.steps[1].latest) == (("a",), {"x": 1}, 0.7)
    assert listed == {
        "{}": ["o0", "e3", "e2", "e1", "e0"],
        "{'status': 'failed'}": ["e3", "e1"],
        "{'agent': 'worker'}": ["e3", "e2", "e1", "e0"],
        "{'agent': 'worker', 'status': 'failed'}": ["e3", "e1"],
        f"{{'since': {AT + 3}}}": ["o0", "e3"],
        "{'agent': 'nobody'}": [],
    }
    assert [event.type for event in events] == ["task.accepted", "task.planned", "task.finished"]
    assert all(a.id < b.id for a, b in pairwise(events))
    assert [(s.id, s.status, s.failed_attempts) for s in open_task.steps] == [
        ("a", "completed", 1),
        ("b", "queued", 0),
    ]
    assert pruned == 1
    assert left == {"history": 3, "task_agents": 6, "steps": 7, "events": 11, "late_results": 3, "webhooks": 3}


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "point", ["2.begun", "2.part=5", "2.part=15", "2.written", "2.committed", "3.part=5", "3.written"]
)
def test_kill_during_a_migration_costs_nothing(tmp_path, point):
    """The file is of the old format, untouched, or of the new one; the next start goes on."""
    journal = tmp_path / "state" / "muster.db"
    journal.parent.mkdir()
    of_format_1(journal, ended=300, open=3)

    with Coordinator(tmp_path / "c", journal=journal) as coordinator:
        code = coordinator.start(failpoint=f"migrate.{point}").process.wait(20)
        with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as file:
            version = file.execute("PRAGMA user_version").fetchone()[0]
            table = "tasks" if version == 1 else "history"
            kept = file.execute(f"SELECT count(*) FROM {table} WHERE finished_at IS NOT NULL").fetchone()[0]
        coordinator.start().ready()
        view = httpx.get(f"{coordinator.url}/tasks/e298").json()
        failed = httpx.get(f"{coordinator.url}/tasks?status=failed&limit=200").json()["tasks"]
        opened = [httpx.get(f"{coordinator.url}/tasks/o{n}").status_code for n in range(3)]

    assert code == -signal.SIGKILL
    assert (version, kept) == (2 if point == "2.committed" or point.startswith("3") else 1, 300)
    assert [step["output"] for step in view["results"]] == [{"text": "found"}, "done"]
    assert len(failed) == 150
    assert opened == [200, 200, 200]
