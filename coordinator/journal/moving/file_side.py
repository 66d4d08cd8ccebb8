"""A journal in a file, with what lies beside it, as the source or the target of a move."""

from __future__ import annotations

import os
import sqlite3
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from coordinator.journal import seals, sql
from coordinator.journal.checking import FUNCTIONS
from coordinator.journal.migrations import MIGRATIONS
from coordinator.journal.moving.side import MoveFailed
from coordinator.journal.moving.tables import A2A, CAME, MAIN, MEMORY, MOVED, TABLES, Destination, Origin, Table
from coordinator.journal.upkeep.inspection import find_damaged
from shared.db.database import AS_TEXT, Row
from shared.db.lock import Lock
from shared.db.mark import read_mark, write_mark
from shared.db.migration import migrate
from shared.db.postgres.dialect import show_nul
from shared.db.refusals import DAMAGE, Naming, explain
from shared.db.sqlite_file import CHECKED_BYTES, find_damage, make_private, open_journal
from shared.db.transaction import define
from shared.errors import StorageBroken
from shared.memory import sql as memory
from shared.protocols.a2a import sql as a2a

PART = ".moving"  # the end of the name of a file that is being filled
_SCHEMAS: Mapping[str, Sequence[str]] = {MAIN: MIGRATIONS, MEMORY: memory.MIGRATIONS, A2A: a2a.MIGRATIONS}
_LOOSELY = ("auto_vacuum=INCREMENTAL", "journal_mode=OFF", "synchronous=OFF", "cache_size=-64000")  # of a part
Columns = Mapping[str, tuple[str, ...]]


def find_columns() -> Columns:
    """The columns of each table in a file, without seals. A server has more, that only running coordinators need."""
    found: dict[str, tuple[str, ...]] = {}
    for schema, migrations in _SCHEMAS.items():
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            migrate(db, migrations)
            for table in (table for table in TABLES if table.schema == schema):
                rows = db.execute(f"PRAGMA table_info({table.name.rpartition('.')[2]})")
                found[table.name] = tuple(row[1] for row in rows if row[1] != "seal")
    return found


class FileSide:
    """Holds the files' locks. A target is written into new files, which take the old ones' places at the end."""

    def __init__(self, path: Path) -> None:
        self.name = f"sqlite:///{path}"
        self.nuls = 0  # texts with a NUL that were read
        self._paths = {MAIN: path} | {schema: path.with_name(f"{schema}.db") for schema in (MEMORY, A2A)}
        self._naming = Naming()
        self._locks: list[Lock] = []
        self._connection: sqlite3.Connection | None = None
        self._there: set[str] = set()  # schemas of the connection
        self._replace = False

    async def open_source(self) -> None:
        self._naming = Naming(setting="--from")
        path = self._paths[MAIN]
        if not path.is_file():
            raise MoveFailed(f"--from names {path}, which does not exist.")
        self._take_locks()
        with self._explained():
            self._connect()
            last = self._open.execute(sql.LAST_EVENT).fetchone()[0]
            found = find_damage(path) if path.stat().st_size >= CHECKED_BYTES else None
            damaged = found or ", ".join(sorted(find_damaged(self._open))[:3])
        if (missing := (read_mark(path) or 0) - last) > 0:
            damaged = f"its last {missing:,} events are missing"
        if damaged:
            raise StorageBroken(f"The journal {path} is damaged ({damaged}). {self._naming.remedy}")

    async def open_target(self) -> None:
        self._naming = Naming(setting="--to")
        self._take_locks()
        with self._explained():
            self._connect()

    def _take_locks(self) -> None:
        for path in self._paths.values():
            lock = Lock(path, self._naming)
            lock.take()
            self._locks.append(lock)

    def _connect(self) -> None:
        """Examines and migrates what is there, and puts it together."""
        there = {schema: path for schema, path in self._paths.items() if path.exists()}
        for schema, path in there.items():
            open_journal(path, _SCHEMAS[schema], self._naming).close()
        self._attach(there)
        define(self._open, FUNCTIONS)

    def _attach(self, there: Mapping[str, Path]) -> None:
        self._connection = sqlite3.connect(there.get(MAIN, ":memory:"), isolation_level=None)
        for schema, path in there.items():
            if schema != MAIN:
                self._connection.execute(f"ATTACH ? AS {schema}", (str(path),))
        self._there = set(there)

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if len(self._locks) == len(self._paths):
            for path in self._paths.values():
                _part(path).unlink(missing_ok=True)
        while self._locks:
            self._locks.pop().close()

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def _has(self, table: Table) -> bool:
        return table.schema in self._there

    async def count(self, table: Table) -> int:
        if not self._has(table):
            return 0
        with self._explained():
            count: int = self._open.execute(f"SELECT count(*) FROM {table.name} WHERE {table.where}").fetchone()[0]
        return count

    async def read(self, table: Table, columns: Sequence[str]) -> AsyncIterator[Sequence[Row]]:
        if not self._has(table):
            return
        binary = columns.index(table.binary) if table.binary else None
        with self._explained():
            cursor = self._open.execute(
                f"SELECT {', '.join(columns)} FROM {table.name} WHERE {table.where} ORDER BY {table.order}"
            )
        while True:
            with self._explained():
                rows = cursor.fetchmany(table.batch)
            if not rows:
                return
            yield [self._as_server_has_it(row, binary) for row in rows]

    def _as_server_has_it(self, row: Row, binary: int | None) -> Row:
        """PostgreSQL's text has no NUL, and its columns of text have no bytes."""
        for n, value in enumerate(row):
            if type(value) is str and "\0" in value:
                self.nuls += 1
                row = (*row[:n], show_nul(value), *row[n + 1 :])
            elif type(value) is bytes and n != binary:
                row = (*row[:n], AS_TEXT + b64encode(value).decode(), *row[n + 1 :])
        return row

    async def read_meta(self, key: str) -> str | None:
        if MAIN not in self._there:
            return None
        with self._explained():
            found = self._open.execute(sql.GET_META, {"key": key}).fetchone()
        return found[0] if found else None

    async def find_position(self) -> int:
        with self._explained():
            last: int = self._open.execute(sql.LAST_EVENT).fetchone()[0]
        return last

    async def begin(self, *, replace: bool) -> None:
        self._replace = replace
        with self._explained():
            self._open.close()
            for schema, path in self._paths.items():
                _make_part(_part(path), _SCHEMAS[schema])
            self._attach({schema: _part(path) for schema, path in self._paths.items()})
            define(self._open, FUNCTIONS)
            for schema in self._there:
                for pragma in _LOOSELY[1:]:  # a kill leaves parts, which the next move makes anew
                    self._open.execute(f"PRAGMA {schema}.{pragma}")
            self._open.execute("BEGIN")

    async def write(self, table: Table, columns: Sequence[str], rows: AsyncIterator[Sequence[Row]]) -> None:
        names, values = list(columns), [f"?{n}" for n in range(1, len(columns) + 1)]
        if table.name in seals.SEALED:
            values.append(seals.seal_of(table.name, **dict(zip(columns, values, strict=True))))
            names.append("seal")
        text = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(values)})"
        mixed = columns.index(table.mixed) if table.mixed else None
        async for batch in rows:
            if table.name != "task_agents":  # the trigger of the history has made these
                with self._explained():
                    self._open.executemany(text, [_as_file_has_it(row, mixed) for row in batch])

    async def settle(self, position: int) -> None:
        with self._explained():
            self._open.execute("DELETE FROM main.sqlite_sequence WHERE name = 'events'")
            self._open.execute("INSERT INTO main.sqlite_sequence VALUES ('events', ?)", (position,))

    async def commit(self, origin: Origin) -> None:
        used = {MAIN} | {table.schema for table in TABLES if origin.sums[table.name].rows}
        stamp = time.strftime(".before-move-%Y%m%dT%H%M%SZ", time.gmtime(origin.at))
        with self._explained():
            self._open.execute(sql.SET_META, {"key": CAME, "value": origin.write()})
            self._open.execute("COMMIT")
            self._open.close()
            self._connection = None
            for schema, path in sorted(self._paths.items(), key=lambda item: item[0] == MAIN):  # the journal comes last
                _sync(_part(path))
                if path.exists() and (self._replace or schema != MAIN):
                    path.rename(path.with_name(f"{path.name}{stamp}"))
                if schema in used:
                    _part(path).replace(path)
            _sync(self._paths[MAIN].parent)
            write_mark(self._paths[MAIN], origin.position)

    async def leave(self, destination: Destination) -> None:
        with self._explained():
            self._open.execute(sql.SET_META, {"key": MOVED, "value": destination.write()})
            self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, *DAMAGE) as exc:
            raise explain(exc, self._paths[MAIN], self._naming) from exc


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}{PART}")


def _make_part(part: Path, migrations: Sequence[str]) -> None:
    part.unlink(missing_ok=True)
    make_private(part)
    with closing(sqlite3.connect(part, isolation_level=None)) as db:
        for pragma in _LOOSELY:
            db.execute(f"PRAGMA {pragma}")
        migrate(db, migrations)


def _as_file_has_it(row: Row, mixed: int | None) -> Row:
    if mixed is None or not isinstance(row[mixed], str) or not row[mixed].startswith(AS_TEXT):
        return row
    return (*row[:mixed], b64decode(row[mixed].removeprefix(AS_TEXT)), *row[mixed + 1 :])


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
