"""The journal against a plain dict: whatever is written, in any order, and however often it is killed between."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from coordinator.journal.events import TaskEvent
from coordinator.journal.lookups.outbox import find_webhook
from coordinator.journal.store import Store
from coordinator.journal.upkeep.backup import backup
from coordinator.journal.upkeep.restore import restore
from coordinator.tasks.task import Step, Task, move, outcome, with_step
from shared.contracts import Status, StepError, Usage
from shared.db.database import Database
from shared.db.memory import MemoryDatabase
from shared.db.sqlite import Sqlite
from shared.errors import Conflict
from shared.limits.ledger import Ledger
from tests.coordinator.journal.model import OPEN, Entry, Model

T = TypeVar("T")
STEPS = ("research", "analysis", "report")
WHICH = st.integers(0, 3)  # among the newest tasks
ATTEMPT = st.integers(1, 3)
MEMORY = Path("/dev/shm")  # what is killed here is a process, not a disk: files in memory are as good, and quick
ERROR = StepError(type="agent_error", detail="It broke.", retryable=True)
CONTEXTS = st.sampled_from([1, 9_000])  # characters: in its task's row, or apart
OUTPUTS = st.sampled_from([*[1] * 8, 101_000, 501_000])  # characters: as they are, compressed, or never packed


class TaskLife(RuleBasedStateMachine):
    """Every write of a task's life, late and double ones too, in a journal without a file."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.at = 1_000.0
        self.count = 0
        self.model = Model()
        self.told: list[TaskEvent] = []
        self.db, self.store = self.open()

    def do(self, awaited: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(awaited)

    def open(self) -> tuple[Database, Store]:
        db = self.make_database()
        store = Store(db, publish=self.told.append, wall=lambda: self.at)
        self.do(store.open())
        return db, store

    def make_database(self) -> Database:
        return MemoryDatabase()

    def teardown(self) -> None:
        self.look()
        self.do(self.store.close())
        self.runner.close()

    def pick(self, n: int) -> str:
        newest = list(self.model.tasks)[-4:]
        return newest[n % len(newest)]

    def now(self) -> float:
        self.at += 1.0
        return self.at

    # --- the writes

    @rule(
        key=st.sampled_from([None, None, "k1", "k2"]),
        tenant=st.sampled_from(["default", "other"]),
        hook=st.booleans(),
        size=CONTEXTS,
    )
    def accept(self, key: str | None, tenant: str, hook: bool, size: int) -> None:
        self.count += 1
        steps = [Step(id=id, capability=id, needs=STEPS[:n]) for n, id in enumerate(STEPS)]
        task = Task(
            id=f"t{self.count}",
            description="Tides?",
            created_at=self.now(),
            deadline=self.at + 30,
            steps=tuple(steps),
            context={"text": "é" * size},
            tenant=tenant,
            idempotency_key=key,
            webhook_url="https://example.org/hook" if hook else None,
        )
        assert self.do(self.store.accept(task)) == self.model.accept(task)
        self.model.is_durable()

    @precondition(lambda self: self.model.tasks)
    @rule(n=WHICH)
    def start_task(self, n: int) -> None:
        task = self.model.tasks[self.pick(n)].task
        self.store.start_task(replace(task, started_at=self.now()))
        self.model.start_task(task.id, self.at)
        self.model.is_posted()

    @precondition(lambda self: self.model.tasks)
    @rule(n=WHICH, step=st.sampled_from(STEPS), attempt=ATTEMPT)
    def start_attempt(self, n: int, step: str, attempt: int) -> None:
        task = self.model.tasks[self.pick(n)].task
        sent = replace(task.step(step), attempt=attempt, instance=f"worker-{attempt}", started_at=self.now())
        self.store.start_attempt(task, sent, agent="worker", queued_at=self.at, ledger=Ledger())
        self.model.start_attempt(task.id, sent)
        self.model.is_posted()

    @precondition(lambda self: self.model.tasks)
    @rule(n=WHICH, step=st.sampled_from(STEPS), attempt=ATTEMPT)
    def end_attempt(self, n: int, step: str, attempt: int) -> None:
        task = self.model.tasks[self.pick(n)].task
        sent = replace(task.step(step), attempt=attempt, failed_attempts=attempt)
        self.store.end_attempt(task, sent, error=ERROR, wait=0.1)
        self.model.end_attempt(task.id, sent)
        self.model.is_posted()

    @precondition(lambda self: self.model.tasks)
    @rule(n=WHICH, step=st.sampled_from(STEPS), attempt=ATTEMPT, well=st.booleans(), size=OUTPUTS, last=st.booleans())
    def finish_step(self, n: int, step: str, attempt: int, well: bool, size: int, last: bool) -> None:
        """A result of any attempt, once or twice; with `last` the task's end is the same commit."""
        task = self.model.tasks[self.pick(n)].task
        old = task.step(step)
        done = replace(
            old,
            status=Status.COMPLETED if well else Status.FAILED,
            attempt=attempt,
            answered_by="worker",
            instance=f"worker-{attempt}",
            output="x" * size if well else None,
            usage=Usage(calls=1),
            error=None if well else ERROR,
            started_at=self.now(),
            finished_at=self.now(),
        )
        whole = with_step(task, done)
        last = last and task.status == "running" and all(s.ended for s in whole.steps)
        end = replace(move(whole, outcome(whole)), finished_at=self.at) if last else None
        written = self.do(self.store.finish_step(task, done, first_byte_at=self.at, ledger=Ledger(), last=end))

        assert written == self.model.finish_step(task.id, done)
        if end is not None and written:
            assert end.status == self.judge(whole)
            self.model.finish_task(task.id, end)
        self.model.is_durable()

    @precondition(lambda self: self.model.tasks)
    @rule(n=WHICH, status=st.sampled_from([Status.CANCELLED, Status.TIMED_OUT, Status.FAILED, Status.PARTIAL]))
    def finish_task(self, n: int, status: Status) -> None:
        """A cancellation, a deadline or a bug, at any moment; a second end writes nothing."""
        task = self.model.tasks[self.pick(n)].task
        if task.ended:
            with pytest.raises(Conflict):
                move(task, status)
            end = replace(task, status=status, finished_at=self.now())
        else:
            end = replace(move(task, status), finished_at=self.now())

        assert self.do(self.store.finish_task(end)) == self.model.finish_task(task.id, end)
        self.model.is_durable()

    @precondition(lambda self: self.model.tasks)
    @rule(n=WHICH, step=st.sampled_from(STEPS), attempt=ATTEMPT)
    def come_late(self, n: int, step: str, attempt: int) -> None:
        id = self.pick(n)
        self.store.late_result(id, step, attempt, "{}")
        self.model.add_late(id)
        self.model.is_posted()

    @precondition(lambda self: self.model.tasks)
    @rule(n=WHICH)
    def deliver(self, n: int) -> None:
        id = self.pick(n)
        self.do(self.store.move_webhook(id, attempts=1, next_at=None, delivered_at=self.now(), error=None))
        self.model.deliver(id)
        self.model.is_durable()

    # --- what is read

    @rule()
    def look(self) -> None:
        """Everything that can be read is as the model says."""
        self.do(self.store.attempts_written())
        self.model.is_durable()
        assert self.read() == self.model.tasks
        open_tasks = {id: e.task for id, e in self.model.tasks.items() if e.task.status in OPEN}
        assert {task.id: task for task in self.do(self.store.open_tasks())} == open_tasks
        listed = [line.id for line in self.do(self.store.list_tasks(limit=100))]
        assert listed == sorted(self.model.tasks, key=lambda id: -self.model.tasks[id].task.created_at)[:100]
        for entry in self.model.tasks.values():
            if key := entry.task.idempotency_key:
                assert self.do(self.store.task_by_key(entry.task.tenant, key)) == entry.task

    def read(self) -> dict[str, Entry]:
        """The journal as the model would have it."""
        found = {}
        for n in range(1, self.count + 1):
            id = f"t{n}"
            task = self.do(self.store.task(id))
            events = tuple(event.type for event in self.do(self.store.events(id)))
            [(late,)] = self.do(self.store.read("SELECT count(*) FROM late_results WHERE task_id = :id", {"id": id}))
            hook = self.do(find_webhook(self.store, id))
            if task is None:
                assert (events, late, hook) == ((), 0, None), "something of a task that is not there"
            else:
                found[id] = Entry(task, events, late, hook.status if hook else None)
        return found

    @staticmethod
    def judge(task: Task) -> str:
        """How a task ends whose steps have all ended."""
        well = [step.status == "completed" for step in task.steps]
        return "completed" if all(well) else "partial" if any(well) else "failed"


class JournalLife(TaskLife):
    """The same in a file, which is closed, killed, pruned, backed up and restored between."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="journal-life-", dir=MEMORY if MEMORY.is_dir() else None))
        self.folder = self.root / "0"
        self.folder.mkdir()
        self.lives = 0
        self.backups: list[tuple[Path, dict[str, Entry]]] = []
        super().__init__()

    def make_database(self) -> Database:
        return Sqlite(self.folder / "muster.db")

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.root)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/muster.db"

    @rule()
    def restart(self) -> None:
        self.do(self.store.close())
        self.db, self.store = self.open()
        self.look()

    @rule()
    def keep_watch(self) -> None:
        """What the coordinator does once a second."""
        self.do(self.store.watch.keep_mark())
        self.do(self.store.watch.seal_open())

    @rule()
    def crash(self) -> None:
        """What was awaited is there; of what was only posted, the first so many, and nothing half."""
        self.lives += 1
        left, self.folder = self.folder, self.root / str(self.lives)
        told = list(self.told)
        shutil.copytree(left, self.folder)
        old = self.store
        self.db, self.store = self.open()
        found = self.read()
        self.do(old.close())
        shutil.rmtree(left)

        assert found in self.model.kept
        self.model.tasks = found
        self.model.is_durable()
        for event in told:
            if event.task_id in found:
                stored = self.do(self.store.events(event.task_id))
                assert event in stored, "it was told and is not there"
        self.told = told

    @rule(seconds=st.sampled_from([0.0, 5.0, 20.0]))
    def prune(self, seconds: float) -> None:
        self.do(self.store.attempts_written())
        while self.do(self.store.prune(before=self.at - seconds)):
            pass
        self.do(self.store.give_back())
        self.do(self.store.checkpoint())
        self.model.prune(self.at - seconds)
        self.model.is_durable()

    @rule()
    def back_up(self) -> None:
        self.do(self.store.attempts_written())
        self.model.is_durable()
        to = self.root / f"backup-{len(self.backups)}"
        backup(self.url, to)
        self.backups.append((to, dict(self.model.tasks)))

    @precondition(lambda self: self.backups)
    @rule(n=WHICH)
    def put_back(self, n: int) -> None:
        folder, tasks = self.backups[n % len(self.backups)]
        self.do(self.store.close())
        restore(self.url, folder, now=self.now())
        self.told.clear()
        self.db, self.store = self.open()
        self.model.tasks = dict(tasks)
        self.look()


TestTaskLife = TaskLife.TestCase
TestTaskLife.settings = settings(max_examples=settings.default.max_examples // 3, stateful_step_count=40)
TestJournalLife = JournalLife.TestCase
TestJournalLife.settings = settings(max_examples=settings.default.max_examples // 5, stateful_step_count=40)
