"""Journals with something of everything: tasks that have ended and that have not, small and large, odd texts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from coordinator.journal import sql
from coordinator.journal.moving.tables import CAME, MOVED
from coordinator.journal.store import Store
from coordinator.tasks.lane import Lane
from coordinator.tasks.task import Step, Task, move
from shared.contracts import Registration, Status, StepError, Usage
from shared.db.database import Database, Statement
from shared.db.sqlite import Sqlite
from shared.limits.ledger import Ledger
from shared.memory import sql as memory
from shared.protocols.a2a import sql as a2a

MEMORY, A2A = "memory.db", "a2a.db"
_MEMORIES = (
    "INSERT INTO sessions (agent, session, created_at, updated_at) VALUES ('coordinator', 'gone', 1.5, 2.5)",
    "INSERT INTO sessions (agent, session, created_at, updated_at) VALUES ('coordinator', 's', 1.5, 2.5)",
    "DELETE FROM sessions WHERE session = 'gone'",
    "INSERT INTO events VALUES (NULL, 'coordinator', 2, 'e', 2.5, 'm', :text, 7, 'k')",
    "INSERT INTO events VALUES (NULL, 'coordinator', 2, 'f', 2.5, 'm', '1', 5, NULL)",
)
_A2A = (
    "INSERT INTO tasks VALUES ('a', 'c', 3, 'ended', 1700000000000000001, :bytes)",
    "INSERT INTO tasks VALUES ('b', 'c', 2, 'open', 0, :bytes)",
    "INSERT INTO hooks VALUES ('b', 'second by name', 'https://x.example', '{}', :bytes)",
    "INSERT INTO hooks VALUES ('b', 'first by name', 'https://x.example', '{}', :bytes)",
    "INSERT INTO outbox (task_id, hook_id, body, due) VALUES ('b', 'first by name', :text, 2.5)",
)
START = 1_700_000_000.25
ODD = (
    "plain",
    "nul \0 and another \0",
    "é 漢 \U0001f600 \u202e",
    "base64:no",
    "line\nend \x1d\x1e\x1f",
    "'; DROP TABLE x",
)
SIZES = (1, 9_000, 101_000, 501_000)  # characters: in a row, apart, compressed, never packed
ERROR = StepError(type="agent_error", detail="It broke.", retryable=True)
REGISTRATION = Registration(name="worker", endpoint="http://worker:8000", capabilities=["worker"])


def _make_task(number: int, text: str, size: int) -> Task:
    return Task(
        id=f"task-{number}",
        description=text,
        created_at=START + number,
        deadline=START + number + 3_600,
        steps=(Step(id="a", capability="worker"), Step(id="b", capability="worker", needs=("a",))),
        context={"text": "x" * size if size < 100_000 else text},
        tenant="default" if number % 2 else "other",
        lane=Lane("key", text[:5]) if number % 3 == 0 else Lane(),
        idempotency_key=f"key-{number}" if number % 2 else None,
        webhook_url="https://example.org/hook" if number % 4 == 0 else None,
        request_digest="digest",
    )


async def fill(db: Database, *, rounds: int = 1) -> Sequence[str]:
    """Opens the database as a journal, writes into it, and closes it; the ids of the tasks that have not ended."""
    at = START
    opened: list[str] = []
    store = Store(db, publish=lambda _: None, wall=lambda: at)
    await store.open()
    await store.secret()
    store.note(None, "audit.started", {"why": "a test"})
    row = {
        "id": "worker-1",
        "registration": REGISTRATION.model_dump_json(),
        "at": at,
        "secret_hash": "h",
        "owner": None,
    }
    store.post("store.save_agent", Statement(sql.SAVE_AGENT, row))
    number = 0
    for _ in range(rounds):
        for text in ODD:
            for size in SIZES:
                number += 1
                at = START + number
                task = _make_task(number, text, size)
                await store.accept(task)
                await _carry(store, task, text * (size // len(text) + 1), ends=number % 5)
                if number % 5 == 0:
                    opened.append(task.id)
    await store.attempts_written()
    await store.close()
    return opened


async def _carry(store: Store, task: Task, output: str, *, ends: int) -> None:
    """Its first step ends, and more of it, or all."""
    task = replace(task, started_at=task.created_at + 1)
    store.start_task(task)
    first = replace(task.steps[0], attempt=1, instance="worker-1", answered_by="worker", started_at=task.created_at + 1)
    store.start_attempt(task, first, agent="worker", queued_at=task.created_at + 1, ledger=Ledger())
    done = replace(
        first, status=Status.COMPLETED, output=output, usage=Usage(calls=1), finished_at=task.created_at + 1.5
    )
    await store.finish_step(task, done, first_byte_at=None, ledger=Ledger())
    store.late_result(task.id, "a", 1, '"late"')
    store.post("store.add_recording", Statement(sql.ADD_RECORDING, {"task_id": task.id, "size": 2, "body": "[]"}))
    second = replace(
        task.steps[1], attempt=1, instance="worker-1", answered_by="worker", started_at=task.created_at + 2
    )
    store.start_attempt(task, second, agent="worker", queued_at=task.created_at + 2, ledger=Ledger())
    if ends:
        broken = replace(second, status=Status.FAILED, error=ERROR, finished_at=task.created_at + 2.5)
        await store.finish_step(task, broken, first_byte_at=None, ledger=Ledger())
        status = Status.PARTIAL if ends < 3 else Status.CANCELLED
        await store.finish_task(
            replace(move(replace(task, status=Status.RUNNING), status), finished_at=task.created_at + 3)
        )


async def make_file(path: Path, *, rounds: int = 1) -> Sequence[str]:
    """A file with such a journal, and what lies beside it; the ids of the tasks that have not ended."""
    opened = await fill(Sqlite(path), rounds=rounds)
    for file, migrations, statements in ((MEMORY, memory.MIGRATIONS, _MEMORIES), (A2A, a2a.MIGRATIONS, _A2A)):
        db = Sqlite(path.with_name(file))
        await db.open(migrations)
        for statement in statements:
            await db.write("test", Statement(statement, {"text": ODD[2], "bytes": b"\0\x01\xff"}))
        await db.close()
    return opened


def read_file(path: Path) -> Mapping[str, list[tuple[Any, ...]]]:
    """Every row of every table in a folder's journal and beside it, without seals and without notes of moves."""
    beside = [path.with_name(name) for name in (MEMORY, A2A) if path.with_name(name).exists()]
    return {
        f"{file.name}.{name}" if file != path else name: rows for file in (path, *beside) for name, rows in _read(file)
    }


def _read(path: Path) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in sorted(set(tables) - {"sqlite_sequence"}):
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != "seal"]
            rows = db.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
            yield table, sorted((row for row in rows if row[0] not in (MOVED, CAME)), key=repr)


def without_nuls(tables: object) -> str:
    """What `read_file` gives, as a move to PostgreSQL leaves it."""
    return repr(tables).replace("\\x00", "\ufffd")
