"""PostgreSQL that is away, slow, full, read-only or somebody else's: nothing is lost, and nothing is written twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from shared.db.database import Statement
from shared.db.postgres import connection
from shared.db.postgres.database import POSITION_BITS, Postgres
from shared.db.postgres.dialect import Dialect, make_function, translate
from shared.errors import StorageAway, StorageBroken, StorageFull
from tests.support.fakes import eventually
from tests.support.postgres import Server

NOTES = Dialect(("CREATE TABLE notes (name TEXT PRIMARY KEY, body TEXT, number BIGINT)",))
ADD = "INSERT INTO notes (name, body) VALUES (:name, :body) ON CONFLICT DO NOTHING"
NAMES = "SELECT name FROM notes ORDER BY name"


def note(name: str, body: str | None = None) -> Statement:
    return Statement(ADD, {"name": name, "body": body})


@asynccontextmanager
async def opened(url: str, dialect: Dialect = NOTES) -> AsyncIterator[Postgres]:
    db = Postgres(url, dialect)
    await db.open()
    try:
        yield db
    finally:
        await db.close()


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.make_database()


# --- what is written --------------------------------------------------------------------------------


async def test_guard_that_touches_nothing_writes_nothing(url):
    """The statements after it are not run, and its neighbours in the commit are written."""
    async with opened(url) as db:
        first, second, third = await asyncio.gather(
            db.write("a", note("a")), db.write("b", note("a"), note("b")), db.write("c", note("c"))
        )
        names = await db.read(NAMES)

    assert (first, second, third) == ([[]], None, [[]])
    assert names == [("a",), ("c",)]


async def test_unfit_write_is_refused_alone(url):
    """What stands in the same commit is written."""
    unfit = Statement("INSERT INTO notes (name, number) VALUES (:name, :n::text::bigint)", {"name": "x", "n": "many"})
    async with opened(url) as db:
        outcomes = await asyncio.gather(
            db.write("a", note("a")), db.write("unfit", unfit), db.write("b", note("b")), return_exceptions=True
        )
        names = await db.read(NAMES)

    assert isinstance(outcomes[1], StorageBroken)
    assert names == [("a",), ("b",)]


async def test_migrations_may_take_long(url, monkeypatch):
    """Longer than any other statement."""
    monkeypatch.setitem(connection.SESSION, "statement_timeout", "2s")
    slow = "SELECT pg_sleep(3.0); CREATE TABLE slow (name TEXT)"
    async with opened(url, Dialect((slow,))) as db:
        kept = await db.read("SELECT count(*) FROM slow")

    assert kept == [(0,)]


async def test_work_that_can_wait_holds_nobody_up(url):
    """It waits for a row that somebody else holds, and writes are durable meanwhile."""
    gone = Statement("DELETE FROM notes WHERE name = :name", {"name": "held"})
    async with opened(url) as db:
        await db.write("a", note("held"))
        other = await asyncpg.connect(url)
        held = other.transaction()
        await held.start()
        await other.execute("SELECT 1 FROM notes WHERE name = 'held' FOR UPDATE")
        going = asyncio.create_task(db.write_some("tidy", [gone], seconds=0.0))
        await eventually(lambda: _waits(other))

        await db.write("b", note("free"))
        done_first = going.done()
        await held.rollback()
        done = await going
        names = await db.read(NAMES)
        await other.close()

    assert (done_first, done, names) == (False, 1, [("free",)])


async def _waits(other: Any) -> bool:
    found: bool = await other.fetchval("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
    return found


@pytest.mark.parametrize(
    "text", ["", "it's", '{"a": "\\u0000"}', "\\", "\x01", "日本\U0001f600", ":name", "$1", "x" * 300_000]
)
async def test_text_comes_back_as_written(url, text):
    async with opened(url) as db:
        await db.write("note", note("n", text))
        kept = await db.read("SELECT body FROM notes WHERE body = :body", {"body": text})

    assert kept == [(text,)]


async def test_nul_is_shown_as_unknown(url):
    """PostgreSQL's text has no NUL."""
    async with opened(url) as db:
        await db.write("note", note("n", "a\0b"))
        kept = await db.read("SELECT body FROM notes")

    assert kept == [("a\ufffdb",)]


async def test_posted_writes_keep_their_order(url):
    told: list[Any] = []
    async with opened(url) as db:
        for n in range(50):
            db.post("post", note(f"{n:02}"), then=told.append)
        await db.write("last", note("last"))
        names = await db.read(NAMES)

    assert len(names) == 51
    assert told == [[[]]] * 50


# --- a server that cannot be used ----------------------------------------------------------------------


async def _refusal(url: str, kind: type[Exception] = StorageBroken) -> str:
    with pytest.raises(kind) as caught:
        async with opened(url):
            pass
    return str(caught.value)


async def test_wrong_password_is_one_sentence(postgres, url):
    """It names the server and the setting, and no password."""
    postgres.run_sql("postgres", "CREATE ROLE stranger LOGIN PASSWORD 'right'")
    postgres.demand_password("stranger")
    asked = url.replace("muster@", "stranger:wrong-one@")

    said = await _refusal(asked)

    assert 'password authentication failed for user "stranger"' in said
    assert "DATABASE_URL" in said
    assert "wrong-one" not in said


async def test_password_stands_apart_from_the_address(postgres, url):
    """As in a file that a container is given."""
    postgres.run_sql("postgres", "CREATE ROLE apart LOGIN SUPERUSER PASSWORD 'it''s/@:right'")
    postgres.demand_password("apart")
    db = Postgres(url.replace("muster@", "apart@"), NOTES, password="it's/@:right")

    await db.open()
    assert await db.write("note", note("n")) == [[]]
    await db.close()


async def test_wrong_database_is_one_sentence(url):
    said = await _refusal(url.rpartition("/")[0] + "/nowhere")

    assert 'database "nowhere" does not exist' in said


async def test_server_that_is_not_there_is_named(url, monkeypatch):
    monkeypatch.setattr("shared.db.postgres.opening.START_SECONDS", 0.0)

    said = await _refusal("postgresql://muster@127.0.0.1:1/muster", StorageAway)

    assert said.startswith("PostgreSQL at postgresql://muster@127.0.0.1:1/muster cannot be reached")


async def test_newer_format_is_refused(postgres, url):
    async with opened(url):
        pass
    postgres.run_sql(url.rpartition("/")[2], "UPDATE muster_format SET version = 99, oldest = 98")

    assert await _refusal(url) == (
        "The database was written by a newer Muster (format 99, this one knows 1): upgrade Muster."
    )


async def test_format_that_only_adds_is_used(url):
    """A version before shares the database with its successor, or is started again after it."""
    newer = replace(NOTES, migrations=(*NOTES.migrations, "ALTER TABLE notes ADD COLUMN more TEXT"))
    async with opened(url, newer):
        pass

    async with opened(url) as db:
        assert await db.write("note", note("from before"))
        assert await db.read("SELECT version, oldest FROM muster_format") == [(2, 1)]


async def test_two_migrations_at_once_make_one_journal(url):
    """Both look at the same empty database."""
    both = [Postgres(url, NOTES) for _ in range(2)]

    async def open_and_close(db: Postgres) -> None:
        await db.open()
        await db.close()

    await asyncio.gather(*(open_and_close(db) for db in both))

    async with opened(url) as db:
        assert await db.read("SELECT version FROM muster_format") == [(1,)]


async def _write_through(db: Postgres, hurt: Any, heal: Any, wanted: str) -> str:
    """A write while the server is hurt waits, and is written once when it is healed; what is said of it meanwhile."""
    await db.write("before", note("before"))
    await asyncio.to_thread(hurt)
    writing = asyncio.create_task(db.write("during", note("during")))

    async def said() -> str | None:
        return trouble if wanted in (trouble := db.find_trouble() or "") else None

    trouble: str = await eventually(said, seconds=30)
    assert not writing.done()
    await asyncio.to_thread(heal)
    assert await asyncio.wait_for(writing, 30) == [[]]
    assert db.find_trouble() is None
    assert await db.read(NAMES) == [("before",), ("during",)]
    return trouble


async def test_writes_wait_for_a_restarted_server(postgres, url):
    async with opened(url) as db:
        said = await _write_through(db, lambda: postgres.stop(kill=True), postgres.start, "not answer")

    assert said.startswith("PostgreSQL does not answer")


async def test_writes_wait_for_a_primary(postgres, url):
    """A standby takes no writes."""
    database = url.rpartition("/")[2]

    def set_read_only(value: str) -> None:
        postgres.run_sql("postgres", f"ALTER DATABASE {database} SET default_transaction_read_only = {value}")
        _end_sessions(postgres, database)

    async with opened(url) as db:
        said = await _write_through(db, lambda: set_read_only("on"), lambda: set_read_only("off"), "read-only")

    assert "DATABASE_URL" in said


def _end_sessions(postgres: Server, database: str) -> None:
    postgres.run_sql("postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")


@asynccontextmanager
async def locked(url: str, table: str) -> AsyncIterator[None]:
    """Somebody else changes a table meanwhile."""
    locking = await asyncpg.connect(url)
    await locking.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
    try:
        async with locking.transaction():
            await locking.execute(f"LOCK TABLE {table}")
            yield
    finally:
        await locking.close()


async def test_limits_of_an_administrator_are_not_noticed(postgres, url):
    """Those of a database count for others; a write that waits for a lock is none of them."""
    database = url.rpartition("/")[2]
    limits = {"statement_timeout": "'200ms'", "lock_timeout": "'100ms'", "idle_in_transaction_session_timeout": "50"}
    async with opened(url) as db:
        await db.write("first", note("first"))
        for limit, value in {**limits, "default_transaction_isolation": "serializable"}.items():
            postgres.run_sql("postgres", f"ALTER DATABASE {database} SET {limit} = {value}")
        await asyncio.to_thread(_end_sessions, postgres, database)
        async with locked(url, "notes"):
            writing = [asyncio.create_task(db.write("during", note(f"during {n}"))) for n in range(3)]
            await asyncio.sleep(1.0)
            assert not any(task.done() for task in writing)
        await asyncio.wait_for(asyncio.gather(*writing), 30)

        assert len(await db.read(NAMES)) == 4
        assert db.find_trouble() is None


async def test_long_lock_of_another_is_told(url):
    """Nothing is written twice when it is gone."""
    async with opened(url) as db:
        await db.write("first", note("first"))
        async with locked(url, "notes"):
            counting = Statement(
                "UPDATE notes SET number = coalesce(number, 0) + 1 WHERE name = :name", {"name": "first"}
            )
            writing = asyncio.create_task(db.write("count", counting))
            said: str = await eventually(db.find_trouble, seconds=30)
        assert await asyncio.wait_for(writing, 30) == [[]]
        number = await db.read("SELECT number FROM notes")

    assert "holds a lock" in said
    assert number == [(1,)]


async def test_connections_that_ran_out_are_named(postgres, url):
    """Those of others; what is written waits for one."""
    others: list[asyncpg.Connection] = []
    async with opened(url) as db:
        database = url.rpartition("/")[2]
        await db.write("before", note("before"))
        _end_sessions(postgres, database)
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                others.append(await asyncpg.connect(url))
        writing = asyncio.create_task(db.write("during", note("during")))

        async def said() -> str | None:
            return trouble if "connection left" in (trouble := db.find_trouble() or "") else None

        trouble = await eventually(said, seconds=30)
        for other in others:
            await other.close()
        await asyncio.wait_for(writing, 30)

    assert "max_connections" in trouble


async def test_lost_answer_is_no_second_write(url):
    """The commit was made, the connection broke before the answer: sent again, it is known."""
    async with Proxy(url) as proxy, opened(proxy.url) as db:
        await db.write("first", note("first"))
        proxy.swallow = True
        counting = Statement("UPDATE notes SET number = coalesce(number, 0) + 1 WHERE name = :name", {"name": "first"})
        writing = asyncio.create_task(db.write("count", counting))
        await eventually(proxy.has_swallowed, seconds=30)
        proxy.cut()
        assert await asyncio.wait_for(writing, 30) == [[]]
        kept = await db.read("SELECT number FROM notes")

    assert kept == [(1,)]


async def test_full_disk_is_told_and_nothing_written(url):
    """As a trigger says it that raises PostgreSQL's own error for it."""
    async with opened(url) as db:
        await db.write("first", note("first"))
        other = await asyncpg.connect(url)
        await other.execute("""
            CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
            CREATE TRIGGER fills BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION fill();
        """)
        with pytest.raises(StorageFull, match=r"disk of PostgreSQL is full"):
            await db.write("during", note("during"))
        assert db.find_trouble() is not None
        await other.execute("DROP TRIGGER fills ON notes")
        await db.write("after", note("after"))
        await other.close()

        assert db.find_trouble() is None
        assert await db.read(NAMES) == [("after",), ("first",)]


class Proxy:
    """Between a client and the server: `swallow` keeps what the server says, `cut` breaks every connection."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2].partition("/")[0])
        self._url = url
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.swallow = False
        self._swallowed = 0

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._url.replace(f":{self._port}/", f":{port}/")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def has_swallowed(self) -> bool | None:
        return self._swallowed > 0 or None

    def cut(self) -> None:
        self.swallow = False
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upper, lower = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, lower]
        for pair, down in (((reader, lower), False), ((upper, writer), True)):
            task = asyncio.create_task(self._pass(*pair, down=down))
            self._tasks.add(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, down: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if down and self.swallow:
                    self._swallowed += len(data)
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()


# --- the dialect ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sqlite", "postgres_"),
    [
        ("SELECT 1 WHERE a LIKE :b", "SELECT 1 WHERE a ILIKE :b"),
        ("SELECT a LIMIT -1 OFFSET 3", "SELECT a LIMIT ALL OFFSET 3"),
        ("SET seal = seal(CAST(a AS BLOB), b), c = 1", "SET seal = NULL, c = 1"),
        ("WHERE t.seal <> seal(f(a), b) OR c", "WHERE t.seal <> NULL OR c"),
        ("SELECT CAST((a - :b) / :c AS INTEGER)", "SELECT floor((a - :b) / :c)::bigint"),
    ],
)
def test_dialect(sqlite, postgres_):
    assert translate(sqlite, Dialect(())) == postgres_


def test_statement_has_one_function_a_type():
    """A parameter that is NULL at first has the type that its name says."""
    empty, full, text = (make_function("x :error_at, y", {"error_at": value}).name for value in (None, 1.5, "1.5"))

    assert empty == full != text


# --- positions of events ----------------------------------------------------------------------------

EVENTS = Dialect(("CREATE TABLE events (id BIGINT PRIMARY KEY)",))
ADD_EVENT = "INSERT INTO events VALUES (:id)"


async def test_positions_come_after_all_that_is_written(url):
    """Also where the sequence is behind, as on a standby that lost the last commits."""
    written = (5_000 << POSITION_BITS) + 7
    async with opened(url, EVENTS) as db:
        await db.write("event", Statement(ADD_EVENT, {"id": written}))
        first, second = await db.take_positions(), await db.take_positions()

    assert written < first < second


async def test_new_range_is_due_at_half(url):
    """A process never comes to the end of its own."""
    async with opened(url, EVENTS) as db:
        first = await db.take_positions()

        assert not db.needs_positions(first + 100)
        assert db.needs_positions(first + (1 << POSITION_BITS - 1))
