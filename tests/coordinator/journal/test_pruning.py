"""Old history goes a bite at a time, its space too, and a kill in between leaves whole tasks or none."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.fleet.members import Members
from coordinator.journal import pruning, sql
from coordinator.journal.postgres.dialect import DIALECT
from coordinator.journal.sql import INCREMENTAL
from coordinator.journal.store import Store
from coordinator.tasks.task import Step, Task
from shared.contracts import Status
from shared.db.database import Database, Statement
from shared.db.postgres.database import Postgres
from shared.db.sqlite import Sqlite
from tests.support.fakes import eventually
from tests.support.history import History
from tests.support.postgres import Server
from tests.support.processes import Coordinator

pytestmark = pytest.mark.timeout(120)
DAY = 86_400.0
POINTS = [
    f"store.{write}.{moment}" for write in ("prune", "give_back") for moment in ("queued", "written", "committed")
]


async def fill(journal: Path | Database, *, old: int, new: int, text: str = "") -> None:
    """A journal with tasks that ended 40 days ago, and some that ended just now."""
    store = Store(Sqlite(journal) if isinstance(journal, Path) else journal, publish=lambda _: None)
    await store.open()
    for name, count, at in (("old", old, time.time() - 40 * DAY), ("new", new, time.time())):
        for number in range(count):
            step = Step(id="a", agent="plain")
            task = Task(f"{name}-{number}", text, at, at + 9, steps=(step,), status=Status.RUNNING)
            await store.accept(task)
            step = replace(step, status=Status.COMPLETED, output=1, answered_by="plain", finished_at=at)
            await store.finish_task(replace(task, steps=(step,), status=Status.COMPLETED, finished_at=at))
    await store.close()


def pages(journal: Path) -> int:
    """Bytes that the file has once what is written beside it has moved into it."""
    with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as file:
        return int(file.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0])


def ids(journal: Path) -> set[str]:
    with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as file:
        return {id for (id,) in file.execute("SELECT task_id FROM history")}


@pytest.mark.parametrize("point", POINTS)
async def test_kill_during_pruning_leaves_whole_tasks(tmp_path, point):
    """A kill while history goes leaves whole tasks or none."""
    journal = tmp_path / "state" / "muster.db"
    await fill(journal, old=400, new=3, text="x" * 20_000)
    whole = journal.stat().st_size

    with Coordinator(tmp_path / "c", journal=journal) as coordinator:
        code = coordinator.start(failpoint=point).process.wait(20)
        cut_off = History(journal)
        coordinator.start().ready()
        await eventually(lambda: ids(journal) == {"new-0", "new-1", "new-2"}, seconds=20)
        coordinator.terminate()
        coordinator.process.wait()
    with closing(sqlite3.connect(journal)) as file:
        [(agents,)] = file.execute("SELECT count(*) FROM task_agents").fetchall()

    assert code == -signal.SIGKILL
    assert cut_off.integrity == History(journal).integrity == "ok"
    assert {len(events) for events in cut_off.events_of.values()} == {3}
    assert agents == 0
    assert whole > 400 * 200


async def test_the_space_of_what_went_is_given_back(tmp_path):
    """The file ends about as small as one that never had more; what will be needed soon is kept."""
    journal = tmp_path / "muster.db"
    await fill(journal, old=300, new=0, text="".join(str(n) for n in range(20_000)))
    before = journal.stat().st_size
    store = Store(Sqlite(journal), publish=lambda _: None)
    await store.open()

    pruning_on = asyncio.create_task(pruning.prune_forever(store, days=30.0, wall=time.time))
    await eventually(lambda: not ids(journal) and pages(journal) < 2_000_000, seconds=60)
    pruning_on.cancel()
    await store.close()

    with closing(sqlite3.connect(journal)) as file:
        assert file.execute("PRAGMA auto_vacuum").fetchone() == (INCREMENTAL,)
    assert before > 10_000_000
    assert journal.stat().st_size < 2_000_000


# --- in PostgreSQL --------------------------------------------------------------------------------


async def test_coordinators_prune_one_history_together(postgres: Server):
    """What is old goes, with all that belongs to it, whoever deletes it; what is young stays."""
    url = postgres.make_database()
    await fill(Postgres(url, DIALECT), old=130, new=7)
    stores = [Store(Postgres(url, DIALECT), publish=lambda _: None) for _ in range(3)]
    for store in stores:
        await store.open()
    for number in range(130):
        stores[0].late_result(f"old-{number}", "a", 1, "{}")
    recording = {"task_id": "old-1", "size": 2, "body": "[]"}
    stores[0].post("store.add_recording", Statement(sql.ADD_RECORDING, recording))
    await stores[0].attempts_written()

    async def prune(store: Store) -> None:
        gone = 1
        while gone:
            gone = await store.prune(before=time.time() - 30 * DAY)

    await asyncio.gather(*map(prune, stores))
    left = {
        table: [id for (id,) in await stores[0].read(f"SELECT task_id FROM {table} WHERE task_id IS NOT NULL")]
        for table in ("history", "steps", "events", "task_agents", "late_results", "recordings", "webhooks", "requests")
    }
    for store in stores:
        await store.close()

    assert sorted(left["history"]) == [f"new-{number}" for number in range(7)]
    assert {id for ids in left.values() for id in ids} == set(left["history"])


async def test_signs_of_the_dead_go_after_an_hour(postgres: Server):
    """Of coordinators that died, and of agents that nobody hears any more."""
    now = time.time()
    store = Store(Postgres(postgres.make_database(), DIALECT), publish=lambda _: None)
    await store.open()
    for name, at in (("old", now - 7_000), ("new", now - 5)):
        members = Members(store, name, "http://there", wall=lambda at=at: at)  # type: ignore[misc]
        members.hear(name, at)
        await members.beat()
    await Members(store, "new", "http://there", wall=lambda: now).forget_gone()
    await store.attempts_written()
    left = await store.read("SELECT id FROM coordinators UNION ALL SELECT agent_id FROM beats")
    await store.close()

    assert left == [("new",), ("new",)]
