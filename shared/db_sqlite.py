"""SQLite as the journal: one writer thread with group commit, a read-only reader, and a form without threads.

WAL with `synchronous=FULL`: what has returned survives `kill -9` and power loss. Measured: 2,900 durable 3-step
tasks/s on 2 cores. Only the writer's connection writes and checkpoints, because SQLite before 3.51.3 can corrupt a
file when two connections do around a WAL reset (https://sqlite.org/wal.html#walresetbug).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import logs
from shared.db import Row, Rows, Statement
from shared.errors import MusterError, StorageBroken, StorageFull
from shared.failpoints import At, nowhere

BATCH = 512
POSTED_SECONDS = 0.025  # that writes nobody waits for may wait for company: half the commits of a lone task
CHECKED_BYTES = 64_000_000  # a larger file is not read through at start; its schema still is
KEPT_LOG_BYTES = 64_000_000  # what the write-ahead log may keep of the disk after a large write
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
_UNFIT = {  # the statement's own fault, not the file's; 0: a value that Python could not even hand over
    0,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
}
_HEADER = b"SQLite format 3\x00"


@dataclass(frozen=True)
class _Unit:
    """One write on its way to the writer thread: awaited by `done`, or posted with `then`."""

    name: str
    statements: tuple[Statement, ...]
    done: asyncio.Future[Rows | None] | None = None
    then: Callable[[Rows], None] | None = None


def _run(connection: sqlite3.Connection, statements: Sequence[Statement]) -> Rows | None:
    rows: Rows = []
    for number, statement in enumerate(statements):
        if isinstance(statement.params, Mapping):
            cursor = connection.execute(statement.sql, statement.params)
            rows.append(cursor.fetchall() if cursor.description else [])
        else:
            cursor = connection.executemany(statement.sql, statement.params)
            rows.append([])
        if number == 0 and not rows[0] and cursor.rowcount == 0:
            return None
    return rows


def _code(exc: Exception) -> int:
    code: int = getattr(exc, "sqlite_errorcode", 0)
    return code if code in _FULL else code & 0xFF


def _translated(exc: Exception) -> MusterError:
    if _code(exc) in _FULL:
        return StorageFull("The journal's disk is full; nothing was written. Free some space.")
    return StorageBroken(f"The journal cannot be used: {exc}.")


def migrate(connection: sqlite3.Connection, migrations: Sequence[str], where: str) -> None:
    """Brings the file to the newest migration; raises `StorageBroken` for one that is newer than this program."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    _refuse_newer(version, len(migrations), where)
    for number, script in enumerate(migrations[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


class Sqlite:
    """The journal in a file; one process holds it at a time."""

    def __init__(self, path: Path, *, at: At = nowhere, on_broken: Callable[[str], None] = nowhere) -> None:
        self._path = path.resolve()  # one journal has one lock, whatever links lead to it
        self._at = at
        self._on_broken = on_broken
        self._queue: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._writer: sqlite3.Connection | None = None
        self._thread: threading.Thread | None = None
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-reader")
        self._reader: sqlite3.Connection | None = None
        self._lock = -1
        self._closed = False
        self._broken: StorageBroken | None = None

    async def open(self, migrations: Sequence[str]) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._open, migrations)
        self._thread = threading.Thread(target=self._write_loop, name="journal-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        self._readers.shutdown()
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def write(self, name: str, *statements: Statement) -> Rows | None:
        if self._closed:
            raise StorageBroken("The journal is closed.")
        done: asyncio.Future[Rows | None] = self._loop.create_future()
        self._queue.put(_Unit(name, statements, done))
        return await asyncio.shield(done)

    def post(self, name: str, *statements: Statement, then: Callable[[Rows], None] | None = None) -> None:
        self._queue.put(_Unit(name, statements, then=then))

    async def read(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        return await self._loop.run_in_executor(self._readers, self._read, sql, params or {})

    # --- in the reader's thread

    def _read(self, sql: str, params: Mapping[str, Any]) -> list[Row]:
        try:
            if self._reader is None:
                uri = f"{self._path.as_uri()}?mode=ro"
                self._reader = sqlite3.connect(uri, uri=True, check_same_thread=False)
            return self._reader.execute(sql, params).fetchall()
        except sqlite3.Error as exc:
            raise _translated(exc) from exc

    # --- in threads of their own

    def _open(self, migrations: Sequence[str]) -> None:
        where = f"The journal {self._path}"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._hold(where)
            if _is_new(self._path, where):
                _create(self._path, migrations, where)
            _examine(self._path, len(migrations), where)
            self._writer = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=OFF",
                "cache_size=-8000",
                f"journal_size_limit={KEPT_LOG_BYTES}",
            ):
                self._writer.execute(f"PRAGMA {pragma}")
            migrate(self._writer, migrations, where)
        except OSError as exc:
            if exc.errno == errno.ENOSPC:
                raise StorageFull(f"{where} cannot be opened: the disk is full. Free some space.") from exc
            raise StorageBroken(f"{where} cannot be opened: {exc.strerror}. Is the folder writable?") from exc
        except sqlite3.Error as exc:
            if _code(exc) in _FULL:
                raise StorageFull(f"{where} cannot be opened: the disk is full. Free some space.") from exc
            raise StorageBroken(
                f"{where} is damaged or unusable ({exc}). Restore it from a backup, or move it away."
            ) from exc

    def _hold(self, where: str) -> None:
        self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise StorageBroken(
                f"{where} is in use by another coordinator (process {holder}). Stop it, or set another DATABASE_URL."
            ) from exc
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _write_loop(self) -> None:
        assert self._writer is not None
        ending = False
        while not ending:
            batch, ending = self._batch()
            if batch:
                self._commit(self._writer, batch)

    def _batch(self) -> tuple[list[_Unit], bool]:
        """What is written with one commit: all that waits, at once if somebody awaits it; and whether it is the end."""
        batch: list[_Unit] = []
        awaited, until = False, 0.0
        while len(batch) < BATCH:
            try:
                if not batch:
                    unit = self._queue.get()
                    until = time.monotonic() + POSTED_SECONDS
                elif awaited:
                    unit = self._queue.get_nowait()
                else:
                    unit = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if unit is None:
                return batch, True
            batch.append(unit)
            awaited = awaited or unit.done is not None
        return batch, False

    def _commit(self, connection: sqlite3.Connection, batch: list[_Unit], *, apart: bool = False) -> None:
        """Writes a batch; only when a unit of it turns out unfit, once more with the units kept apart."""
        outcomes: list[Rows | MusterError | None] = []
        try:
            if self._broken is not None:
                raise self._broken
            connection.execute("BEGIN IMMEDIATE")
            for unit in batch:
                self._at(f"{unit.name}.queued")
                outcomes.append(self._one(connection, unit) if apart else _run(connection, unit.statements))
                self._at(f"{unit.name}.written")
            connection.execute("COMMIT")
            for unit in batch:
                self._at(f"{unit.name}.committed")
        except Exception as exc:  # whatever it is: this thread goes on, and everybody gets an answer
            if _code(exc) in _UNFIT and connection.in_transaction and not apart:
                connection.execute("ROLLBACK")
                self._commit(connection, batch, apart=True)
                return
            outcomes = [self._failed(connection, exc)] * len(batch)
        self._loop.call_soon_threadsafe(_resolve, batch, outcomes)

    def _one(self, connection: sqlite3.Connection, unit: _Unit) -> Rows | MusterError | None:
        connection.execute("SAVEPOINT unit")
        try:
            rows = _run(connection, unit.statements)
        except Exception as exc:  # one unit's own fault is not the others'
            if _code(exc) not in _UNFIT or not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO unit")
            connection.execute("RELEASE unit")
            return StorageBroken(f"The write {unit.name} was refused: {exc}.")
        connection.execute("RELEASE unit")
        return rows

    def _failed(self, connection: sqlite3.Connection, exc: Exception) -> MusterError:
        """Nothing of the batch is written. A full disk is tried again; one that fails is not written to any more."""
        error = exc if isinstance(exc, MusterError) else _translated(exc)
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, StorageFull):  # the log may hold what has room in the file
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as worse:
            error = _translated(worse)
        if isinstance(error, StorageBroken) and self._broken is None:
            self._broken = error
            self._loop.call_soon_threadsafe(self._on_broken, error.detail)
        return error


def _is_new(path: Path, where: str) -> bool:
    """Whether there is no journal yet; raises `StorageBroken` when only its log is left."""
    if path.exists():
        return False
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        raise StorageBroken(f"{where} is not there, but its log {log.name} is. Restore it, or move the log away.")
    return True


def _create(path: Path, migrations: Sequence[str], where: str) -> None:
    """A new journal is there as a whole or not at all, so that an empty file is never one."""
    new = Path(f"{path}.new")
    for file in (new, Path(f"{new}-journal")):
        file.unlink(missing_ok=True)
    try:
        connection = sqlite3.connect(new, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            migrate(connection, migrations, where)
        finally:
            connection.close()
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _examine(path: Path, known: int, where: str) -> None:
    """Raises `StorageBroken` for a file that cannot be trusted; writes nothing."""
    with path.open("rb") as file:
        head = file.read(len(_HEADER))
    if head != _HEADER:
        what = "is no SQLite file" if head else "is an empty file"
        raise StorageBroken(f"{where} {what}. Restore it from a backup, or move it away.")
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if (version == 0) != (tables == 0):
            raise StorageBroken(f"{where} is a SQLite file of another program. Set another DATABASE_URL.")
        _refuse_newer(version, known, where)
        if path.stat().st_size < CHECKED_BYTES:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise StorageBroken(f"{where} is damaged ({verdict}). Restore it from a backup, or move it away.")
    finally:
        connection.close()


def _refuse_newer(version: int, known: int, where: str) -> None:
    if version > known:
        raise StorageBroken(
            f"{where} was written by a newer Muster (format {version}, this one knows {known}): upgrade Muster."
        )


def _resolve(batch: list[_Unit], outcomes: list[Rows | MusterError | None]) -> None:
    for unit, outcome in zip(batch, outcomes, strict=True):
        if unit.then is not None and isinstance(outcome, list):
            try:
                unit.then(outcome)
            except Exception as exc:  # a reader of events that breaks must not keep the others from their answers
                logs.get().error("journal.reader_broke", write=unit.name, exc_info=exc)
        if unit.done is None or unit.done.done():
            continue
        if isinstance(outcome, MusterError):
            unit.done.set_exception(outcome)
        else:
            unit.done.set_result(outcome)


class Memory:
    """The same tables without a file or a thread: the journal switched off, and the store of most tests."""

    def __init__(self, *, at: At = nowhere) -> None:
        self._at = at
        self._connection = sqlite3.connect(":memory:", isolation_level=None)

    async def open(self, migrations: Sequence[str]) -> None:
        migrate(self._connection, migrations, "The journal in memory")

    async def close(self) -> None:
        self._connection.close()

    async def write(self, name: str, *statements: Statement) -> Rows | None:
        return self._written(name, statements)

    def post(self, name: str, *statements: Statement, then: Callable[[Rows], None] | None = None) -> None:
        rows = self._written(name, statements)
        if then is not None and rows is not None:
            then(rows)

    async def read(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        return self._connection.execute(sql, params or {}).fetchall()

    def _written(self, name: str, statements: Sequence[Statement]) -> Rows | None:
        self._at(f"{name}.queued")
        self._connection.execute("BEGIN")
        try:
            rows = _run(self._connection, statements)
        except Exception as exc:
            self._connection.execute("ROLLBACK")
            raise StorageBroken(f"The write {name} was refused: {exc}.") from exc
        self._at(f"{name}.written")
        self._connection.execute("COMMIT")
        self._at(f"{name}.committed")
        return rows
