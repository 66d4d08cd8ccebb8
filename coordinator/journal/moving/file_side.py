"""A journal in a file, as the source or the target of a move."""

from __future__ import annotations

import os
import sqlite3
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from coordinator.journal import seals, sql
from coordinator.journal.checking import FUNCTIONS
from coordinator.journal.migrations import MIGRATIONS
from coordinator.journal.moving.side import MoveFailed
from coordinator.journal.moving.tables import CAME, MOVED, Destination, Origin, Table
from coordinator.journal.upkeep.inspection import find_damaged
from shared.db.database import AS_TEXT, Row
from shared.db.lock import Lock
from shared.db.mark import read_mark, write_mark
from shared.db.migration import migrate
from shared.db.refusals import DAMAGE, Naming, explain
from shared.db.sqlite_file import CHECKED_BYTES, find_damage, make_private, open_journal
from shared.db.transaction import define
from shared.errors import StorageBroken

PART = ".moving"  # the end of the name of a file that is being filled
_NOT_NULS = "\ufffd"


class FileSide:
    """Holds the journal's lock. A target is written into a new file, which takes the old one's place at the end."""

    def __init__(self, path: Path) -> None:
        self.name = f"sqlite:///{path}"
        self.nuls = 0  # texts with a NUL that were read
        self._path = path
        self._part = path.with_name(f"{path.name}{PART}")
        self._naming = Naming()
        self._lock: Lock | None = None
        self._connection: sqlite3.Connection | None = None
        self._replaced: str | None = None  # the name that what was there gets

    async def open_source(self) -> None:
        self._naming = Naming(setting="--from")
        if not self._path.is_file():
            raise MoveFailed(f"--from names {self._path}, which does not exist.")
        self._take_lock()
        with self._explained():
            self._connection = connection = open_journal(self._path, MIGRATIONS, self._naming)
            define(connection, FUNCTIONS)
            last = connection.execute(sql.LAST_EVENT).fetchone()[0]
            found = find_damage(self._path) if self._path.stat().st_size >= CHECKED_BYTES else None
            damaged = found or ", ".join(sorted(find_damaged(connection))[:3])
        if (missing := (read_mark(self._path) or 0) - last) > 0:
            damaged = f"its last {missing:,} events are missing"
        if damaged:
            raise StorageBroken(f"The journal {self._path} is damaged ({damaged}). {self._naming.remedy}")

    async def open_target(self) -> None:
        self._naming = Naming(setting="--to")
        self._take_lock()
        with self._explained():
            if self._path.exists():
                self._connection = open_journal(self._path, MIGRATIONS, self._naming)

    def _take_lock(self) -> None:
        self._lock = Lock(self._path, self._naming)
        try:
            self._lock.take()
        except BaseException:
            self._lock = None
            raise

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._part.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def list_columns(self) -> dict[str, tuple[str, ...]]:
        """The columns of each table, without the seals, which are made anew."""
        with self._explained():
            rows = self._open.execute(
                "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'"
            ).fetchall()
        found: dict[str, tuple[str, ...]] = {}
        for table, column in rows:
            if column != "seal":
                found[table] = (*found.get(table, ()), column)
        return found

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    async def count(self, table: Table) -> int:
        if self._connection is None:
            return 0
        with self._explained():
            count: int = self._open.execute(f"SELECT count(*) FROM {table.name} WHERE {table.where}").fetchone()[0]
        return count

    async def read(self, table: Table, columns: Sequence[str]) -> AsyncIterator[Sequence[Row]]:
        text = f"SELECT {', '.join(columns)} FROM {table.name} WHERE {table.where} ORDER BY {table.order}"
        body = columns.index("body") if table.name == "history" else None
        with self._explained():
            cursor = self._open.execute(text)
        while True:
            with self._explained():
                rows = cursor.fetchmany(table.batch)
            if not rows:
                return
            yield [self._as_server_has_it(row, body) for row in rows]

    def _as_server_has_it(self, row: Row, body: int | None) -> Row:
        """PostgreSQL's text has no NUL, and its columns of text have no bytes."""
        for n, value in enumerate(row):
            if type(value) is str and "\0" in value:
                self.nuls += 1
                row = (*row[:n], value.replace("\0", _NOT_NULS), *row[n + 1 :])
            elif type(value) is bytes and n != body:
                row = (*row[:n], AS_TEXT + b64encode(value).decode(), *row[n + 1 :])
        return row

    async def read_meta(self, key: str) -> str | None:
        if self._connection is None:
            return None
        with self._explained():
            found = self._open.execute(sql.GET_META, {"key": key}).fetchone()
        return found[0] if found else None

    async def find_position(self) -> int:
        with self._explained():
            last: int = self._open.execute(sql.LAST_EVENT).fetchone()[0]
        return last

    async def begin(self, *, replace: bool) -> None:
        with self._explained():
            if self._connection is not None:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._connection.close()
            if replace:
                self._replaced = time.strftime(f"{self._path.name}.before-move-%Y%m%dT%H%M%SZ", time.gmtime())
            self._part.unlink(missing_ok=True)
            make_private(self._part)
            self._connection = sqlite3.connect(self._part, isolation_level=None)
            define(self._connection, FUNCTIONS)
            for pragma in ("auto_vacuum=INCREMENTAL", "journal_mode=OFF", "synchronous=OFF", "cache_size=-64000"):
                self._connection.execute(f"PRAGMA {pragma}")  # a kill leaves a part, which the next move begins anew
            migrate(self._connection, MIGRATIONS)
            self._connection.execute("BEGIN")

    async def write(self, table: Table, columns: Sequence[str], rows: AsyncIterator[Sequence[Row]]) -> None:
        names, values = list(columns), [f"?{n}" for n in range(1, len(columns) + 1)]
        if table.name in seals.SEALED:
            values.append(seals.seal_of(table.name, **dict(zip(columns, values, strict=True))))
            names.append("seal")
        text = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(values)})"
        output = columns.index("output") if table.name == "steps" else None
        async for batch in rows:
            if table.name != "task_agents":  # the trigger of the history has made these
                with self._explained():
                    self._open.executemany(text, [_as_file_has_it(row, output) for row in batch])

    async def settle(self, position: int) -> None:
        with self._explained():
            self._open.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
            self._open.execute("INSERT INTO sqlite_sequence VALUES ('events', ?)", (position,))

    async def commit(self, origin: Origin) -> None:
        with self._explained():
            self._open.execute(sql.SET_META, {"key": CAME, "value": origin.write()})
            self._open.execute("COMMIT")
            self._open.close()
            self._connection = None
            _sync(self._part)
            if self._replaced is not None:
                self._path.rename(self._path.with_name(self._replaced))
            self._part.replace(self._path)
            _sync(self._path.parent)
            write_mark(self._path, origin.position)

    async def leave(self, destination: Destination) -> None:
        with self._explained():
            self._open.execute(sql.SET_META, {"key": MOVED, "value": destination.write()})
            self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, *DAMAGE) as exc:
            raise explain(exc, self._path, self._naming) from exc


def _as_file_has_it(row: Row, output: int | None) -> Row:
    if output is None or not isinstance(row[output], str) or not row[output].startswith(AS_TEXT):
        return row
    return (*row[:output], b64decode(row[output].removeprefix(AS_TEXT)), *row[output + 1 :])


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
