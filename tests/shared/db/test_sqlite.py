"""The database below the store: units that are written whole or not at all, many in one commit, in order."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from shared.db.database import Database, Statement
from shared.db.memory import MemoryDatabase
from shared.db.sqlite import BATCH, Sqlite
from shared.errors import StorageBroken, StorageFull

MIGRATIONS = ("CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, text TEXT NOT NULL);",)
COUNT = "SELECT count(*) FROM notes"

Opened = Callable[..., Awaitable[Database]]


def add(name: Any, text: Any = "") -> Statement:
    return Statement(
        "INSERT INTO notes (name, text) VALUES (:name, :text) ON CONFLICT DO NOTHING RETURNING id",
        {"name": name, "text": text},
    )


def failing(code: int, *, at: str, after: int = 0) -> Callable[[str], None]:
    """A point function: from the so-manieth time on, the disk fails at this point with an error of SQLite."""
    left = after

    def point(name: str) -> None:
        nonlocal left
        if name != at:
            return
        left -= 1
        if left < 0:
            error = sqlite3.OperationalError("the disk says no")
            error.sqlite_errorcode = code
            raise error

    return point


@asynccontextmanager
async def opened(db: Sqlite) -> AsyncIterator[Sqlite]:
    try:
        await db.open(MIGRATIONS)
        yield db
    finally:
        await db.close()


@pytest.fixture(params=["file", "memory"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    db: Database = Sqlite(tmp_path / "notes.db") if request.param == "file" else MemoryDatabase()
    await db.open(MIGRATIONS)
    yield db
    await db.close()


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[Sqlite]:
    async with opened(Sqlite(tmp_path / "notes.db")) as db:
        yield db


# --- one unit -------------------------------------------------------------------------------------


async def test_unit_returns_the_rows_of_its_statements(db):
    """A unit returns the rows of each of its statements."""
    rows = await db.write("notes", add("a"), Statement("UPDATE notes SET text = 'seen'"), add("b"))

    assert rows == [[(1,)], [], [(2,)]]


async def test_a_unit_is_written_whole_or_not_at_all(db):
    """Its second statement fails, so its first one leaves no trace."""
    with pytest.raises(StorageBroken, match="The write notes was refused"):
        await db.write("notes", add("a"), Statement("INSERT INTO notes (name, text) VALUES ('b', NULL)"))

    assert await db.read(COUNT) == [(0,)]


async def test_a_guard_that_touches_no_row_writes_nothing(db):
    await db.write("notes", add("a", "first"))

    again = await db.write("notes", add("a", "second"), add("b"))
    missing = await db.write("notes", Statement("UPDATE notes SET text = '' WHERE name = 'x'"), add("c"))

    assert (again, missing) == (None, None)
    assert await db.read("SELECT name, text FROM notes") == [("a", "first")]


async def test_only_the_first_statement_is_a_guard(db):
    rows = await db.write("notes", add("a"), Statement("DELETE FROM notes WHERE name = 'x'"))

    assert rows == [[(1,)], []]


async def test_many_rows_of_one_statement_are_one_write(db):
    many = [{"name": f"n{i}"} for i in range(1_000)]
    await db.write("notes", add("a"), Statement("INSERT INTO notes (name, text) VALUES (:name, '')", many))

    assert await db.read(COUNT) == [(1_001,)]


@pytest.mark.parametrize(
    "statement",
    [
        Statement("INSERT INTO notes (name, text) VALUES ('b', NULL)"),
        Statement("INSERT INTO nowhere VALUES (1)"),
        Statement("INSERT INTO notes"),
        add("b", 10**30),
        add("b", "\ud800"),
        add("b", object()),
        Statement("INSERT INTO notes (name, text) VALUES (:name, :text)", {"name": "b"}),
    ],
    ids=["constraint", "no such table", "no SQL", "too large a number", "a lone surrogate", "no value", "one missing"],
)
async def test_a_bad_unit_fails_alone(db, statement):
    """Whatever is wrong with it, those in the same commit are written, and so are those after it."""
    results = await asyncio.gather(
        db.write("notes", add("before")),
        db.write("notes", add("a"), statement),
        db.write("notes", add("after")),
        return_exceptions=True,
    )
    await db.write("notes", add("later"))

    assert [type(r) for r in results] == [list, StorageBroken, list]
    assert await db.read("SELECT name FROM notes ORDER BY id") == [("before",), ("after",), ("later",)]


# --- posted ---------------------------------------------------------------------------------------


async def test_posted_writes_come_before_later_ones(db):
    """What is posted is written before what is written later."""
    for number in range(100):
        db.post("notes", add(f"p{number}"))
        await db.write("notes", add(f"w{number}")) if number % 10 == 0 else None
    await db.write("notes", add("last"))

    names = [name for (name,) in await db.read("SELECT name FROM notes ORDER BY id")]
    assert names == [n for i in range(100) for n in ((f"p{i}", f"w{i}") if i % 10 == 0 else (f"p{i}",))] + ["last"]


async def test_then_gets_the_rows_once_they_can_be_read(db, tmp_path):
    told: list[Any] = []
    db.post("notes", add("a"), add("b"), then=told.append)
    await db.write("notes", add("c"))

    assert told == [[[(1,)], [(2,)]]]


async def test_then_is_not_called_for_what_was_not_written(db):
    told: list[Any] = []
    await db.write("notes", add("a"))

    db.post("notes", add("a"), add("b"), then=told.append)
    await db.write("notes", add("c"))

    assert told == []


async def test_then_that_raises_keeps_nobody_from_an_answer(file):
    """A reader of events with a bug costs nobody else anything."""

    def broken(rows: Any) -> None:
        raise ValueError("a reader broke")

    file.post("notes", add("a"), then=broken)
    rows = await file.write("notes", add("b"))

    assert rows == [[(2,)]]


# --- many -----------------------------------------------------------------------------------------


async def test_concurrent_writes_are_written_once_in_order(db):
    """Thousands of concurrent writes are all written once and in order."""
    count = 5_000

    rows = await asyncio.gather(*(db.write("notes", add(f"n{i}")) for i in range(count)))

    assert [row[0][0][0] for row in rows] == list(range(1, count + 1))
    assert await db.read(COUNT) == [(count,)]


async def test_waiting_writes_share_a_commit(tmp_path):
    """While one commit is on its way to the disk, the next one gathers."""
    commits: list[str] = []
    held, go = threading.Event(), threading.Event()

    def at(point: str) -> None:
        if point == "first.written":
            held.set()
            go.wait(10)

    async with opened(Sqlite(tmp_path / "notes.db", at=at)) as db:
        db._writer.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        first = asyncio.create_task(db.write("first", add("first")))
        await asyncio.to_thread(held.wait, 10)
        rest = [asyncio.create_task(db.write("notes", add(f"n{i}"))) for i in range(BATCH * 2)]
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(first, *rest)

    assert len(commits) == 3


async def test_a_read_sees_every_write_that_has_returned(db):
    for number in range(1, 200):
        await db.write("notes", add(f"n{number}"))
        assert await db.read(COUNT) == [(number,)]


async def test_a_read_sees_no_half_of_a_unit(file):
    """Two notes come and go together; a reader finds both or none."""
    seen = set()

    async def reader() -> None:
        while not done:
            seen.add((await file.read(COUNT))[0][0])

    done = False
    reading = asyncio.create_task(reader())
    for _ in range(200):
        await file.write("notes", add("a"), add("b"))
        await file.write("notes", Statement("DELETE FROM notes"))
    done = True
    await reading

    assert seen <= {0, 2}


async def test_close_writes_what_was_posted(tmp_path):
    async with opened(Sqlite(tmp_path / "notes.db")) as db:
        for number in range(1_000):
            db.post("notes", add(f"n{number}"))

    async with opened(Sqlite(tmp_path / "notes.db")) as db:
        assert await db.read(COUNT) == [(1_000,)]


async def test_write_after_close_is_refused_at_once(tmp_path):
    """A write after the close is refused and does not hang."""
    async with opened(Sqlite(tmp_path / "notes.db")) as db:
        pass

    with pytest.raises(StorageBroken, match="closed"):
        await db.write("notes", add("a"))


async def test_a_caller_that_goes_away_takes_nothing_back(file):
    """What was handed over is written, whether somebody still waits for it or not."""
    writing = asyncio.create_task(file.write("notes", add("a")))
    await asyncio.sleep(0)
    writing.cancel()
    await file.write("notes", add("b"))

    assert await file.read(COUNT) == [(2,)]


async def test_a_read_that_fails_has_a_name(file):
    with pytest.raises(StorageBroken, match="no such table"):
        await file.read("SELECT * FROM nowhere")


# --- a disk that is full, and one that fails --------------------------------------------------------


@pytest.mark.parametrize("point", ["notes.written", "notes.queued"])
async def test_full_disk_fails_the_whole_commit(tmp_path, point):
    """Also the units that had been written already; each caller may try again."""
    full = True

    def at(name: str) -> None:
        if full:
            failing(sqlite3.SQLITE_FULL, at=point, after=0)(name)

    async with opened(Sqlite(tmp_path / "notes.db", at=at)) as db:
        units = (db.write("other", add("a")), db.write("notes", add("b")), db.write("other", add("c")))
        results = await asyncio.gather(*units, return_exceptions=True)
        counted = await db.read(COUNT)
        full = False
        rows = await db.write("notes", add("later"))

    assert [type(r) for r in results] == [StorageFull] * 3
    assert counted == [(0,)]
    assert rows == [[(1,)]]


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY]
)
async def test_a_disk_that_fails_is_never_written_to_again(tmp_path, code):
    """An fsync that failed once may succeed the next time and have lost the pages: stop, never go on and hope."""
    points: list[str] = []
    died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    fails = failing(code, at="notes.written", after=1)

    def at(point: str) -> None:
        points.append(point)
        fails(point)

    async with opened(Sqlite(tmp_path / "notes.db", at=at, on_broken=died.set_result)) as db:
        await db.write("notes", add("good"))
        with pytest.raises(StorageBroken):
            await db.write("notes", add("bad"))
        async with asyncio.timeout(1):
            why = await died
        reached = len(points)
        for name in ("more", "and more"):
            with pytest.raises(StorageBroken):
                await db.write("notes", add(name))

    assert why == "The journal cannot be used: the disk says no."
    assert len(points) == reached
    async with opened(Sqlite(tmp_path / "notes.db")) as db:
        assert await db.read("SELECT name FROM notes") == [("good",)]


async def test_bug_at_a_point_does_not_stop_writing(tmp_path):
    """Whatever happens in the writer's thread, those who wait get an answer."""

    def at(point: str) -> None:
        raise RuntimeError("a bug")

    async with opened(Sqlite(tmp_path / "notes.db", at=at)) as db:
        with pytest.raises(StorageBroken):
            await db.write("notes", add("a"))
        with pytest.raises(StorageBroken):
            await db.write("notes", add("b"))


# --- files ----------------------------------------------------------------------------------------


async def test_second_opener_is_refused_by_every_path(tmp_path):
    """A symbolic link, or a path with dots, is the same journal."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(tmp_path / "notes.db")
    async with opened(Sqlite(tmp_path / "notes.db")) as first:
        for path in (tmp_path / "notes.db", link, tmp_path / "elsewhere" / ".." / "notes.db"):
            with pytest.raises(StorageBroken, match=r"notes\.db is in use by another coordinator \(process \d+\)"):
                async with opened(Sqlite(path)):
                    pass
        await first.write("notes", add("a"))

        assert await first.read(COUNT) == [(1,)]


async def test_the_lock_goes_with_its_holder(tmp_path):
    for _ in range(3):
        async with opened(Sqlite(tmp_path / "notes.db")) as db:
            await db.write("notes", Statement("INSERT INTO notes (text) VALUES ('')"))

    with closing(sqlite3.connect(tmp_path / "notes.db")) as connection:
        assert connection.execute(COUNT).fetchone() == (3,)


async def test_migration_keeps_the_content(tmp_path):
    """Only the missing migrations run, in their order, each once."""
    more = (
        *MIGRATIONS,
        "ALTER TABLE notes ADD COLUMN stars INTEGER NOT NULL DEFAULT 3;",
        "UPDATE notes SET stars = stars + 1;",
    )
    async with opened(Sqlite(tmp_path / "notes.db")) as db:
        await db.write("notes", add("old", "kept"))

    for _ in range(2):
        db = Sqlite(tmp_path / "notes.db")
        await db.open(more)
        rows = await db.read("SELECT name, text, stars FROM notes")
        await db.close()

    assert rows == [("old", "kept", 4)]


async def test_a_migration_that_fails_changes_nothing(tmp_path):
    async with opened(Sqlite(tmp_path / "notes.db")) as db:
        await db.write("notes", add("old"))

    db = Sqlite(tmp_path / "notes.db")
    with pytest.raises(StorageBroken):
        await db.open((*MIGRATIONS, "ALTER TABLE notes ADD COLUMN x; INSERT INTO nowhere VALUES (1);"))
    await db.close()

    async with opened(Sqlite(tmp_path / "notes.db")) as db:
        assert await db.read("SELECT * FROM notes") == [(1, "old", "")]


async def test_half_made_file_is_made_again(tmp_path):
    """A start that was killed leaves half a file under another name, never an empty journal."""
    (tmp_path / "notes.db.new").write_bytes(b"SQLite format 3\x00 and then the power went")
    (tmp_path / "notes.db.new-journal").write_bytes(b"half")

    async with opened(Sqlite(tmp_path / "notes.db")) as db:
        await db.write("notes", add("a"))

    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.db", "notes.db.lock"]


async def test_file_and_logs_are_private(tmp_path):
    """Nobody else on the machine reads the file and its logs."""
    before = os.umask(0o022)
    try:
        async with opened(Sqlite(tmp_path / "journal.db")) as db:
            await db.write("add", add(1))

            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("journal.db*")}
    finally:
        os.umask(before)

    assert modes.pop("journal.db.lock") == 0o644  # says who holds it
    assert modes == {"journal.db": 0o600, "journal.db-wal": 0o600, "journal.db-shm": 0o600}


async def test_a_log_without_its_file_is_not_thrown_away(tmp_path):
    """SQLite would delete it, and with it everything that was committed last."""
    log = tmp_path / "notes.db-wal"
    log.write_bytes(b"committed")

    with pytest.raises(StorageBroken, match=r"is missing, but its log notes\.db-wal is"):
        async with opened(Sqlite(tmp_path / "notes.db")):
            pass

    assert log.read_bytes() == b"committed"
