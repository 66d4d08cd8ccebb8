"""A move takes everything along, is compared, and can be done again; there and back, nothing has changed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.journal.checking import FUNCTIONS
from coordinator.journal.migrations import MIGRATIONS
from coordinator.journal.moving.move import Moved, move
from coordinator.journal.moving.side import MoveFailed
from coordinator.journal.moving.tables import MOVED
from coordinator.journal.postgres.dialect import DIALECT
from coordinator.journal.rows import make_task_row
from coordinator.journal.store import Store
from coordinator.journal.upkeep.inspection import inspect
from shared.db.database import Database
from shared.db.postgres.database import Postgres
from shared.db.postgres.dialect import show_nul
from shared.db.sqlite import Sqlite
from shared.errors import StorageAway, StorageBroken
from tests.support.journals import fill, make_file, read_file, without_nuls
from tests.support.postgres import Server

pytestmark = pytest.mark.timeout(120)


def silent(*_: object) -> None:
    """Nobody looks."""


async def carry(source: Path | str, target: Path | str) -> Moved:
    urls = [f"sqlite:///{at}" if isinstance(at, Path) else at for at in (source, target)]
    return await move(urls[0], urls[1], tell=silent)


async def test_there_and_back_is_equal(tmp_path: Path, postgres: Server):
    """But for NULs, which PostgreSQL does not keep, and which are counted."""
    file, back, server = tmp_path / "muster.db", tmp_path / "back/muster.db", postgres.make_database()
    await make_file(file)

    there = await carry(file, server)
    again = await carry(server, back)

    assert without_nuls(read_file(file)) == without_nuls(read_file(back))
    assert there.nuls > 0
    assert again.sums == there.sums
    assert all(sum.rows for sum in there.sums.values())
    assert inspect(f"sqlite:///{back}").sound


async def test_second_run_says_so(tmp_path: Path, postgres: Server):
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)

    first, second = await carry(file, server), await carry(file, server)

    assert (first.again, second.again, second.used) == (False, True, False)
    assert second.sums == first.sums


async def test_second_run_finds_what_is_missing(tmp_path: Path, postgres: Server):
    """Nobody has used the target since: then it must be what was moved."""
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)
    await carry(file, server)
    postgres.run_sql(server.rpartition("/")[2], "DELETE FROM late_results WHERE task_id = 'task-3'")

    with pytest.raises(MoveFailed, match=r"is not what was moved there \(late_results"):
        await carry(file, server)


async def test_note_of_a_move_that_was_cut_off_is_added(tmp_path: Path, postgres: Server):
    """A kill after the commit leaves a source without its note; the next run compares and writes it."""
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)
    await carry(file, server)
    run_sql(file, f"DELETE FROM meta WHERE key = '{MOVED}'")

    again = await carry(file, server)

    assert again.again
    with pytest.raises(StorageBroken, match="was moved to postgresql://"):
        await open_and_close(Sqlite(file))


async def test_moved_journal_is_not_started(tmp_path: Path, postgres: Server):
    """Its tasks would be done twice. What it was moved to, is."""
    file, back, server = tmp_path / "muster.db", tmp_path / "back.db", postgres.make_database()
    await make_file(file)
    await carry(file, server)
    await open_and_close(Postgres(server, DIALECT))
    await carry(server, back)

    for left in (Sqlite(file), Postgres(server, DIALECT)):
        with pytest.raises(StorageBroken, match=r"The journal was moved to .* To come back, move it back"):
            await open_and_close(left)
    await open_and_close(Sqlite(back))


async def test_back_into_the_same_file(tmp_path: Path, postgres: Server):
    """The one that was left behind is kept under another name; and the same way again."""
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)
    before = read_file(file)
    for _ in range(2):
        await carry(file, server)
        await carry(server, file)

    assert without_nuls(read_file(file)) == without_nuls(before)
    assert any("before-move" in name for name in os.listdir(tmp_path))


async def test_both_gone_on_is_refused(tmp_path: Path, postgres: Server):
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)
    await carry(file, server)
    run_sql(file, f"DELETE FROM meta WHERE key = '{MOVED}'")
    run_sql(file, "DELETE FROM tasks WHERE id = 'task-5'")

    with pytest.raises(MoveFailed, match="has gone on since it was moved"):
        await carry(file, server)


async def test_used_target_is_said(tmp_path: Path, postgres: Server):
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)
    await carry(file, server)
    await open_and_close(Postgres(server, DIALECT))

    assert (await carry(file, server)).used


async def test_positions_only_grow(tmp_path: Path, postgres: Server):
    """`Last-Event-ID` of before the move finds what comes after it, on either side."""
    file, back, server = tmp_path / "muster.db", tmp_path / "back.db", postgres.make_database()
    await make_file(file)
    positions = [await find_position(Sqlite(file))]

    await carry(file, server)
    positions.append(await find_position(Postgres(server, DIALECT)))
    await carry(server, back)
    positions.append(await find_position(Sqlite(back)))
    other = postgres.make_database()
    await carry(back, other)
    positions.append(await find_position(Postgres(other, DIALECT)))

    assert positions == sorted(set(positions))
    assert positions[-1] < 2**53


async def test_lanes_go_along(tmp_path: Path, postgres: Server):
    """Open tasks wait in the queue that they were accepted into."""
    file, server = tmp_path / "muster.db", postgres.make_database()
    opened = await make_file(file, rounds=3)
    await carry(file, server)

    db = Postgres(server, DIALECT)
    store = Store(db, publish=lambda _: None)
    await store.open()
    tasks = {task.id: task for task in await store.open_tasks()}
    lanes = dict(await db.read("SELECT id, lane FROM tasks"))
    await store.close()

    assert set(tasks) == set(opened)
    assert lanes == {id: show_nul(make_task_row(task)["lane"] or "") or None for id, task in tasks.items()}
    assert any(lanes.values())


# --- refused --------------------------------------------------------------------------------------


async def test_target_of_another_is_refused(tmp_path: Path, postgres: Server):
    """Whichever kind it is; nothing of it is touched."""
    file, other, server = tmp_path / "muster.db", tmp_path / "other/muster.db", postgres.make_database()
    await make_file(file)
    await make_file(other)
    await fill(Postgres(server, DIALECT))

    with pytest.raises(MoveFailed, match="is not empty, and not from"):
        await carry(file, server)
    with pytest.raises(MoveFailed, match="is not empty, and not from"):
        await carry(server, other)


async def test_target_that_was_only_started_is_refused(tmp_path: Path, postgres: Server):
    """Its agents have keys of its own secret."""
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)
    store = Store(Postgres(server, DIALECT), publish=lambda _: None)
    await store.open()
    await store.secret()
    await store.close()

    with pytest.raises(MoveFailed, match="is not empty"):
        await carry(file, server)


async def test_source_in_use_is_refused(tmp_path: Path, postgres: Server):
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)
    db = Sqlite(file)
    await db.open(MIGRATIONS, FUNCTIONS)
    try:
        with pytest.raises(StorageBroken, match="in use by another coordinator"):
            await carry(file, server)
    finally:
        await db.close()


async def test_damaged_source_is_refused(tmp_path: Path, postgres: Server):
    """A row that is not as it was written, and a page that no row is read from."""
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)
    run_sql(file, "UPDATE history SET description = 'Other' WHERE task_id = 'task-6'")
    with pytest.raises(StorageBroken, match=r"is damaged \(task-6\)"):
        await carry(file, server)

    file.write_bytes(file.read_bytes()[:8_192] + bytes(4_096) + file.read_bytes()[12_288:])
    with pytest.raises(StorageBroken, match="is damaged"):
        await carry(file, server)


@pytest.mark.parametrize("kind", ["file", "server"])
async def test_newer_source_is_refused(tmp_path: Path, postgres: Server, kind: str):
    file, server = tmp_path / "muster.db", postgres.make_database()
    if kind == "file":
        await make_file(file)
        run_sql(file, "PRAGMA user_version = 99")
    else:
        await fill(Postgres(server, DIALECT))
        postgres.run_sql(server.rpartition("/")[2], "UPDATE muster_format SET version = 99")

    with pytest.raises(StorageBroken, match="newer Muster"):
        await carry(*((file, server) if kind == "file" else (server, file)))


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        ("sqlite:///x.db", "sqlite:///x.db", "name the same journal"),
        ("sqlite:///x.db", "sqlite:///./x.db", "name the same journal"),
        ("postgresql://a/b", "postgresql://a/b", "name the same journal"),
        ("sqlite:///x.db", "sqlite:///y.db", "One of --from and --to is a file"),
        ("postgresql://a/b", "postgresql://a/c", "One of --from and --to is a file"),
        ("x.db", "postgresql://a/b", "--from x.db is no journal that can move"),
        ("sqlite:///x.db", "mysql://u:secret@a/b", r"--to mysql://u:\[hidden\]@a/b is no journal"),
        ("memory:", "postgresql://a/b", "--from memory: is no journal"),
        ("sqlite:///none.db", "postgresql://a/b", "none.db, which does not exist"),
    ],
)
async def test_wrong_addresses_are_refused(tmp_path: Path, monkeypatch, source: str, target: str, why: str):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(MoveFailed, match=why):
        await carry(source, target)

    assert os.listdir(tmp_path) == []


async def test_server_that_cannot_be_used_is_refused(tmp_path: Path, postgres: Server):
    """A wrong password, a database and a server that are not there, one without a journal, an empty one."""
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)
    postgres.run_sql("postgres", "CREATE ROLE guarded LOGIN PASSWORD 'right'")
    postgres.demand_password("guarded")
    wrong = server.replace("muster@", "guarded:wrong@")

    with pytest.raises(StorageBroken, match="refused the connection: password authentication failed") as refused:
        await carry(file, wrong)
    assert "wrong@" not in refused.value.detail
    with pytest.raises(StorageBroken, match="does not exist"):
        await carry(file, f"{server}_none")
    with pytest.raises(StorageAway, match="cannot be reached"):
        await carry(file, "postgresql://muster@127.0.0.1:1/none")
    with pytest.raises(MoveFailed, match="has no journal"):
        await carry(server, tmp_path / "back.db")
    await open_and_close(Postgres(server, DIALECT))
    with pytest.raises(MoveFailed, match="nothing to move"):
        await carry(server, tmp_path / "back.db")


def run_sql(file: Path, text: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(text)


async def open_and_close(db: Database) -> None:
    store = Store(db, publish=lambda _: None)
    try:
        await store.open()
    finally:
        await store.close()


async def find_position(db: Database) -> int:
    """The position of an event that a coordinator writes now."""
    told: list[int] = []
    store = Store(db, publish=lambda event: told.append(event.id))
    await store.open()
    store.note(None, "audit.test", {})
    await store.attempts_written()
    await store.close()
    return told[0]
