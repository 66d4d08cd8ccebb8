"""The journal in the coordinator's words: who may win a race, what is kept, and what comes back after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from coordinator.access.claims import Holder
from coordinator.agent_pool.records import AgentRecord, AgentRecords
from coordinator.journal.events import TaskEvent
from coordinator.journal.store import WRITES, Store
from coordinator.tasks.task import Step, Task
from shared.contracts import Missing, Registration, Status, StepError, Usage
from shared.db.database import Database
from shared.db.memory import MemoryDatabase
from shared.db.postgres.database import Postgres
from shared.db.sqlite import Sqlite
from shared.limits.ledger import Ledger

ERROR = StepError(type="agent_error", detail="It broke.", retryable=True)
TABLES = ("tasks", "history", "task_agents", "steps", "late_results", "webhooks", "events")


class Journal:
    """A store, its database, and every event that it has told."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.packs = not isinstance(db, Postgres)  # a task that has ended is one row
        self.told: list[TaskEvent] = []
        self.store = Store(db, publish=self.told.append, wall=lambda: 1_000.0)

    async def rows(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """Rows of a query, after everything that was posted before."""
        await self.store.secret()
        return await self.db.read(sql, params)

    async def count(self, table: str) -> int:
        found: int = (await self.rows(f"SELECT count(*) FROM {table}"))[0][0]
        return found


@pytest.fixture
async def journal(database: Database) -> AsyncIterator[Journal]:
    journal = Journal(database)
    await journal.store.open()
    yield journal
    await journal.store.close()


async def reopened(journal: Journal, tmp_path: Path) -> Journal:
    await journal.store.close()
    again = Journal(Sqlite(tmp_path / "muster.db"))
    await again.store.open()
    return again


@pytest.fixture
async def file(tmp_path: Path) -> Journal:
    journal = Journal(Sqlite(tmp_path / "muster.db"))
    await journal.store.open()
    return journal


def task(id: str = "t1", **changes: Any) -> Task:
    steps = (
        Step(id="research", capability="research", input={"question": "?"}, on_failure="continue", latest=0.7),
        Step(id="report", agent="reporter", needs=("research",), needs_any=True, timeout_seconds=5.0),
    )
    fields: dict[str, Any] = {"id": id, "description": "Tides?", "created_at": 1_000.0, "deadline": 1_030.0}
    return Task(**fields | {"steps": steps} | changes)


def begun(of: Task, *, attempt: int = 1, failed: int = 0) -> Step:
    return replace(
        of.steps[0],
        status=Status.RUNNING,
        attempt=attempt,
        failed_attempts=failed,
        instance="researcher-1",
        answered_by="researcher",
        started_at=1_001.0,
    )


def done(of: Task, *, attempt: int = 1, output: Any = "found") -> Step:
    return replace(
        begun(of, attempt=attempt),
        status=Status.COMPLETED,
        output=output,
        usage=Usage(calls=1, input_tokens=10),
        missing=(Missing(what="a map", why="none was found"),),
        finished_at=1_002.5,
    )


def failed(of: Task, *, attempt: int = 1) -> Step:
    return replace(begun(of, attempt=attempt), status=Status.FAILED, error=ERROR, finished_at=1_002.0)


async def finish(journal: Journal, of: Task, step: Step) -> bool:
    return await journal.store.finish_step(of, step, first_byte_at=1_001.5, ledger=Ledger())


async def end(journal: Journal, of: Task, *, at: float = 1_010.0) -> bool:
    return await journal.store.finish_task(replace(of, status=Status.COMPLETED, finished_at=at))


def send(journal: Journal, of: Task, *, attempt: int) -> None:
    step = begun(of, attempt=attempt)
    journal.store.start_attempt(of, step, agent="researcher", queued_at=1_000.5, ledger=Ledger())


# --- accepting ------------------------------------------------------------------------------------


async def test_an_accepted_task_comes_back_as_it_was(journal):
    accepted = task(
        context={"documents": ["a.md"]},
        priority=9,
        format="html",
        max_calls=7,
        max_tokens=900,
        tenant="someone",
        idempotency_key="key",
        request_digest="abc",
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        webhook_url="https://example.org/hook",
    )

    assert await journal.store.accept(accepted)

    assert await journal.store.task("t1") == accepted
    assert await journal.store.open_tasks() == [accepted]
    assert await journal.store.task_by_key("someone", "key") == accepted
    assert [event.type for event in await journal.store.events("t1")] == ["task.accepted", "task.planned"]


async def test_second_task_under_a_key_writes_nothing(journal):
    """The first task under a key stays and the second writes nothing."""
    assert await journal.store.accept(task("t1", idempotency_key="key"))

    assert not await journal.store.accept(task("t2", idempotency_key="key"))

    assert await journal.store.task("t2") is None
    assert (await journal.count("tasks"), await journal.count("events")) == (1, 2)
    assert await journal.store.accept(task("t3", idempotency_key="key", tenant="another"))


async def test_a_key_stays_taken_when_its_task_has_ended(journal):
    await journal.store.accept(task("t1", idempotency_key="key"))
    await end(journal, task("t1"))

    assert not await journal.store.accept(task("t2", idempotency_key="key"))

    assert (await journal.store.task_by_key("default", "key")).id == "t1"
    assert await journal.count("tasks") == 0


async def test_thousand_tasks_under_one_key_make_one(journal):
    """Of a thousand tasks under one key at once one is accepted."""
    tasks = [task(f"t{i}", idempotency_key="key") for i in range(1_000)]

    accepted = await asyncio.gather(*(journal.store.accept(t) for t in tasks))

    assert accepted.count(True) == 1
    assert await journal.count("tasks") == 1


# --- the fence ------------------------------------------------------------------------------------


async def test_a_step_ends_once(journal):
    """The second result touches no row, whichever attempt it comes from."""
    await journal.store.accept(task())
    send(journal, task(), attempt=1)
    assert await finish(journal, task(), done(task(), output="first"))

    again = await finish(journal, task(), done(task(), output="second"))
    newer = await finish(journal, task(), done(task(), attempt=2, output="third"))
    worse = await finish(journal, task(), failed(task(), attempt=3))

    assert (again, newer, worse) == (False, False, False)
    step = (await journal.store.task("t1")).step("research")
    assert (step.output, step.attempt, step.status) == ("first", 1, "completed")
    assert [e.type for e in await journal.store.events("t1")].count("step.finished") == 1


async def test_the_result_of_an_older_attempt_is_not_merged(journal):
    await journal.store.accept(task())
    send(journal, task(), attempt=1)
    send(journal, task(), attempt=2)

    stale = await finish(journal, task(), done(task(), attempt=1, output="stale"))
    right = await finish(journal, task(), done(task(), attempt=2, output="right"))

    assert (stale, right) == (False, True)
    assert (await journal.store.task("t1")).step("research").output == "right"


async def test_an_older_attempt_cannot_take_the_step_back(journal):
    await journal.store.accept(task())
    send(journal, task(), attempt=2)

    send(journal, task(), attempt=1)

    assert await journal.rows("SELECT attempt FROM steps") == [(2,)]
    assert [e.fields["attempt"] for e in journal.told if e.type == "step.started"] == [2]
    assert (await journal.store.task("t1")).step("research").attempt == 2


async def test_attempt_cannot_begin_in_an_ended_step(journal):
    """An attempt cannot begin in a step that has ended."""
    await journal.store.accept(task())
    await finish(journal, task(), done(task()))

    send(journal, task(), attempt=2)

    step = (await journal.store.task("t1")).step("research")
    assert (step.status, step.attempt) == ("completed", 1)
    assert "step.started" not in [e.type for e in journal.told]


async def test_result_for_an_ended_task_changes_nothing(journal):
    """A file packs its rows into one, PostgreSQL keeps them; none is made again, and none changed."""
    await journal.store.accept(task())
    send(journal, task(), attempt=1)
    await end(journal, task())
    kept = [await journal.rows(f"SELECT * FROM {table}") for table in ("steps", "events")]

    late = await finish(journal, task(), done(task()))
    send(journal, task(), attempt=2)

    assert late is False
    assert [await journal.rows(f"SELECT * FROM {table}") for table in ("steps", "events")] == kept
    assert not journal.packs or kept == [[], []]


async def test_a_late_result_is_kept_told_and_not_merged(journal):
    await journal.store.accept(task())
    await finish(journal, task(), failed(task()))

    journal.store.late_result("t1", "research", 1, '"too late"')

    kept = await journal.rows("SELECT task_id, step_id, attempt, result FROM late_results")
    assert kept == [("t1", "research", 1, '"too late"')]
    assert journal.told[-1].type == "step.late"
    step = (await journal.store.task("t1")).step("research")
    assert (step.status, step.output) == ("failed", None)


async def test_a_task_ends_once(journal):
    await journal.store.accept(task())
    ends = [replace(task(), status=s, finished_at=1_010.0) for s in (Status.COMPLETED, Status.CANCELLED)]

    first, second = [await journal.store.finish_task(t) for t in ends]

    assert (first, second) == (True, False)
    assert (await journal.store.task("t1")).status == "completed"
    assert [e.type for e in await journal.store.events("t1")].count("task.finished") == 1


# --- attempts -------------------------------------------------------------------------------------


async def test_a_finished_step_comes_back_with_everything(journal):
    await journal.store.accept(task())
    send(journal, task(), attempt=1)
    finished = done(task(), output={"evidence": [1, 2.5, "Ebbe und Flut", None]})

    await finish(journal, task(), finished)

    found = (await journal.store.task("t1")).step("research")
    assert replace(found, failed_attempts=0) == finished


async def test_large_output_comes_back_as_it_was(journal):
    """It is compressed before it is written; PostgreSQL keeps those bytes as text."""
    first, output = task(), {"report": "Spring tides. " * 20_000}
    await journal.store.accept(first)
    send(journal, first, attempt=1)

    assert await finish(journal, first, done(first, output=output))
    found = await journal.store.task("t1")

    assert found.steps[0].output == output


async def test_failed_attempts_count_interrupted_ones_do_not(file, tmp_path):
    """The first failed, the second was running when the coordinator died."""
    await file.store.accept(task())
    send(file, task(), attempt=1)
    file.store.end_attempt(task(), begun(task(), attempt=1, failed=1), error=ERROR, wait=0.1)
    send(file, task(), attempt=2)

    again = await reopened(file, tmp_path)
    [recovered] = await again.store.open_tasks()
    await again.store.close()

    assert (recovered.step("research").attempt, recovered.step("research").failed_attempts) == (2, 1)


async def test_the_events_tell_of_each_attempt(journal):
    await journal.store.accept(task())
    send(journal, task(), attempt=1)
    journal.store.end_attempt(task(), begun(task(), failed=1), error=ERROR, wait=0.1)
    send(journal, task(), attempt=2)
    await finish(journal, task(), done(task(), attempt=2))

    told = [(e.type, e.fields["attempt"], e.at) for e in await journal.store.events("t1") if "attempt" in e.fields]
    times = await journal.rows("SELECT queued_at, first_byte_at FROM steps")

    assert told == [
        ("step.started", 1, 1_000.0),
        ("step.retried", 1, 1_000.0),
        ("step.started", 2, 1_000.0),
        ("step.finished", 2, 1_000.0),
    ]
    assert times == [(1_000.5, 1_001.5)]


async def test_spending_is_written_with_its_step(journal):
    """What is spent is written with the step where there is a limit."""
    limited = task(max_calls=9)
    await journal.store.accept(limited)
    ledger = Ledger(max_calls=9, spent_calls=2, reserved_calls=3, spent_tokens=40, reserved_tokens=50)

    await journal.store.finish_step(limited, done(limited), first_byte_at=None, ledger=ledger)

    spent = await journal.rows("SELECT spent_calls, reserved_calls, spent_tokens, reserved_tokens FROM tasks")
    assert spent == [(2, 3, 40, 50)]


# --- events ---------------------------------------------------------------------------------------


async def test_events_are_in_order(journal):
    """A task's events stand in the order of what happened."""
    await journal.store.accept(task())
    journal.store.start_task(task(started_at=1_000.5))
    send(journal, task(), attempt=1)
    journal.store.note("t1", "step.progress", {"message": "half"})
    await finish(journal, task(), done(task()))
    await end(journal, task())

    events = await journal.store.events("t1")

    assert [e.type for e in events] == [
        "task.accepted",
        "task.planned",
        "step.started",
        "step.progress",
        "step.finished",
        "task.finished",
    ]
    assert all(a.id < b.id for a, b in pairwise(events))
    assert await journal.store.events("t1", after=events[3].id) == events[4:]


async def test_events_are_told_as_they_are_stored(journal):
    await journal.store.accept(task())
    send(journal, task(), attempt=1)
    await finish(journal, task(), done(task()))

    assert journal.told == await journal.store.events("t1")


async def test_a_second_end_tells_nothing(journal):
    await journal.store.accept(task())
    await finish(journal, task(), done(task()))
    await end(journal, task())
    told = len(journal.told)

    await finish(journal, task(), done(task()))
    await end(journal, task())

    assert len(journal.told) == told


async def test_positions_are_never_used_twice(file, tmp_path):
    """Not even those of pruned events, over a restart: a reader's Last-Event-ID stays true."""
    await file.store.accept(task())
    await end(file, task())
    last = file.told[-1].id
    assert await file.store.prune(before=2_000.0) == 1
    assert await file.count("events") == 0

    again = await reopened(file, tmp_path)
    await again.store.accept(task("t2"))
    await again.store.close()

    assert [event.id for event in again.told] == [last + 1, last + 2]


# --- coming back ----------------------------------------------------------------------------------


async def test_open_tasks_come_back_with_finished_steps(file, tmp_path):
    """Two thousand open tasks come back each with its finished steps."""
    tasks = [task(f"t{i:04}", created_at=1_000.0 + i, deadline=2_000.0 + i) for i in range(2_000)]
    await asyncio.gather(*(file.store.accept(t) for t in tasks))
    await asyncio.gather(*(finish(file, t, done(t, output=t.id)) for t in tasks[::2]))
    await asyncio.gather(*(end(file, t) for t in tasks[1::4]))

    again = await reopened(file, tmp_path)
    found = await again.store.open_tasks()
    await again.store.close()

    assert [t.id for t in found] == [t.id for i, t in enumerate(tasks) if i % 4 != 1]
    assert {t.id: t.step("research").output for t in found if t.step("research").ended} == {
        t.id: t.id for t in tasks[::2]
    }


async def test_the_secret_is_made_once(file, tmp_path):
    secret = await file.store.secret()

    again = await reopened(file, tmp_path)

    assert len(secret) == 32
    assert await again.store.secret() == secret
    await again.store.close()


async def test_agents_come_back_withdrawn_ones_stay_gone(journal):
    """Agents come back and those that left are remembered as gone."""
    here = Registration(name="here", endpoint="http://here", capabilities=["research"])
    gone = Registration(name="gone", endpoint="http://gone", capabilities=["report"])
    records = AgentRecords(journal.store)
    await records.save("here-1", here, Holder())
    await records.save("gone-1", gone, Holder("hash", "key"))
    records.remove("gone-1")
    await journal.store.secret()

    shown = [AgentRecord("here-1", here, True, Holder()), AgentRecord("gone-1", gone, False, Holder("hash", "key"))]
    assert await records.all() == shown

    await records.save("gone-1", gone, Holder("another", "other"))
    assert (await records.all())[1] == replace(shown[1], present=True), "the first secret and the first key stay"


async def test_name_belongs_to_its_first_key(journal):
    """As long as an agent of that name is remembered."""
    records = AgentRecords(journal.store)
    one = Registration(name="one", endpoint="http://one", capabilities=[])
    await records.save("one-1", one, Holder())
    await records.save("one-2", one, Holder(owner="first"))
    await records.save("one-3", one, Holder(owner="second"))
    records.remove("one-2")
    assert await records.owner("one") == "first"
    records.forget("one-2")
    await journal.store.secret()

    assert await records.owner("one") == "second"
    assert await records.owner("other") is None
    assert await records.holder("one-2") is None


# --- lists and history ----------------------------------------------------------------------------


async def test_tasks_are_listed_newest_first_page_by_page(journal):
    for number in range(10):
        await journal.store.accept(task(f"t{number}", created_at=1_000.0 + number // 2))

    pages, before = [], None
    while page := await journal.store.list_tasks(before=before, limit=3):
        pages.append([line.id for line in page])
        before = (page[-1].created_at, page[-1].id)

    assert pages == [["t9", "t8", "t7"], ["t6", "t5", "t4"], ["t3", "t2", "t1"], ["t0"]]


async def test_lists_are_filtered_by_status_agent_and_time(journal):
    for number in range(4):
        await journal.store.accept(task(f"t{number}", created_at=1_000.0 + number))
    await finish(journal, task("t1"), done(task("t1")))
    await end(journal, task("t2"))

    async def ids(**filters: Any) -> list[str]:
        return [line.id for line in await journal.store.list_tasks(**filters)]

    assert await ids(status="completed") == ["t2"]
    assert await ids(agent="researcher") == ["t1"]
    assert await ids(since=1_002.0) == ["t3", "t2"]


async def test_pruning_removes_old_tasks_and_nothing_else(journal):
    """Open tasks stay however old they are."""
    for id, ended_at in (("old-1", 1_010.0), ("old-2", 1_020.0), ("new", 5_000.0), ("open", None)):
        one = task(id, webhook_url="https://example.org/hook")
        await journal.store.accept(one)
        send(journal, one, attempt=1)
        await finish(journal, one, done(one))
        if ended_at is not None:
            await end(journal, one, at=ended_at)
        journal.store.late_result(id, "research", 1, "{}")
    before = {table: await journal.count(table) for table in TABLES}

    pruned = [await journal.store.prune(before=2_000.0, limit=1) for _ in range(3)]

    assert pruned == [1, 1, 0]
    assert [await journal.store.task(id) for id in ("old-1", "old-2")] == [None, None]
    assert [event.type for event in await journal.store.events("new")][-2:] == ["task.finished", "step.late"]
    after = {table: await journal.count(table) for table in TABLES}
    rows = {"steps": 1, "events": 8} if journal.packs else {"steps": 4, "events": 23}
    assert before == dict.fromkeys(TABLES, 3) | {"tasks": 1, "late_results": 4} | rows
    rows = {"steps": 1, "events": 6} if journal.packs else {"steps": 2, "events": 11}
    assert after == dict.fromkeys(TABLES, 1) | {"late_results": 2} | rows


async def test_pruning_forgets_long_gone_agents(journal):
    """An agent that flaps for a year fills no disk. The store's clock stands at 1,000."""
    records = AgentRecords(journal.store, wall=lambda: 1_000.0)
    for name in ("here", "gone"):
        registration = Registration(name=name, endpoint=f"http://{name}", capabilities=["research"])
        await records.save(name, registration, Holder())
        journal.store.note(None, "agent.status", {"name": name})
    records.remove("gone")

    await journal.store.prune(before=999.0)
    assert (len(await records.all()), await journal.count("events")) == (2, 4)
    await journal.store.prune(before=1_001.0)

    assert await journal.count("events") == 0
    assert [record.agent_id for record in await records.all()] == ["here"]


@pytest.mark.parametrize("size", [100, 50_000, 700_000], ids=["small", "packed", "large"])
async def test_large_request_is_written_once(journal, size):
    """Apart from the row that is written again as the task goes on; it comes back until the task is pruned."""
    accepted = task(context={"text": "é" * size}, idempotency_key="key")
    apart = int(size > 100)

    await journal.store.accept(accepted)
    send(journal, accepted, attempt=1)
    as_open = await journal.store.task("t1")
    [opened] = await journal.store.open_tasks()
    kept_open = await journal.count("requests")
    await finish(journal, accepted, done(accepted))
    await end(journal, accepted)
    as_ended, by_key = await journal.store.task("t1"), await journal.store.task_by_key("default", "key")
    kept_ended = await journal.count("requests")
    await journal.store.prune(before=2_000.0)

    assert as_open.context == opened.context == as_ended.context == by_key.context == accepted.context
    assert (kept_open, kept_ended) == (apart, int(size > 500_000) if journal.packs else apart)
    assert await journal.count("requests") == 0


@pytest.mark.parametrize("size", [100, 150_000, 700_000], ids=["small", "compressed", "large"])
async def test_large_output_comes_back(journal, size):
    """Of a task that is open, and of one that has ended."""
    output = {"text": "é" * size, "rows": list(range(size // 100))}
    await journal.store.accept(task())
    send(journal, task(), attempt=1)

    assert await finish(journal, task(), done(task(), output=output))
    [opened], as_open = await journal.store.open_tasks(), await journal.store.task("t1")
    await end(journal, task())
    as_ended = await journal.store.task("t1")

    assert [one.step("research").output for one in (opened, as_open, as_ended)] == [output] * 3


# --- the named points -----------------------------------------------------------------------------


async def test_every_write_is_a_named_point(tmp_path):
    """What `tests/system/test_kill.py` kills at is all there is."""
    reached: list[str] = []
    for db in (Sqlite(tmp_path / "muster.db", at=reached.append), MemoryDatabase(at=reached.append)):
        reached.clear()
        journal = Journal(db)
        await journal.store.open()
        await journal.store.accept(task())
        journal.store.start_task(task(started_at=1_000.5))
        send(journal, task(), attempt=1)
        journal.store.end_attempt(task(), begun(task(), failed=1), error=ERROR, wait=0.1)
        await finish(journal, task(), done(task(), attempt=2))
        await end(journal, task())
        await journal.store.close()

        assert set(reached) == {f"{name}.{moment}" for name in WRITES for moment in ("queued", "written", "committed")}
