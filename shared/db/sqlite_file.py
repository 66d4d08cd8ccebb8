"""The journal's file: created whole or not at all, examined before it is trusted, migrated."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from shared.db.migration import migrate
from shared.db.refusals import JOURNAL, Naming, explain, why_not_shared
from shared.errors import StorageBroken
from shared.failpoints import At, nowhere

CHECKED_BYTES = 64_000_000  # a larger file is not read through at start; its schema still is
KEPT_LOG_BYTES = 64_000_000  # what the write-ahead log may keep of the disk after a large write
RESCUED = ".rescued"  # the end of the name of a copy of a journal whose files were removed
HEADER = b"SQLite format 3\x00"


def open_journal(
    path: Path, migrations: Sequence[str], naming: Naming = JOURNAL, *, at: At = nowhere
) -> sqlite3.Connection:
    """The writer's connection to a journal of the newest format; raises `StorageBroken` or `StorageFull`."""
    where = f"{naming.what} {path}"
    try:
        if _is_new(path, where):
            _create(path, migrations)
        if not os.access(path, os.R_OK | os.W_OK):  # a restored file that is root's; SQLite would speak of damage
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        _examine(path, len(migrations), where, naming.setting)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
            raise why_not_shared(path, naming)
        for pragma in (
            "synchronous=FULL",
            "foreign_keys=OFF",
            "cache_size=-8000",
            f"journal_size_limit={KEPT_LOG_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        migrate(connection, migrations, at=at)
    except (OSError, sqlite3.Error) as exc:
        raise explain(exc, path, naming) from exc
    return connection


def _is_new(path: Path, where: str) -> bool:
    """Whether there is no journal yet; raises `StorageBroken` when only its log is left, or what was rescued of it."""
    if path.exists():
        return False
    rescued = Path(f"{path}{RESCUED}")
    if rescued.exists():
        raise StorageBroken(
            f"{where} is missing: it was removed while it was used. All it held is in {rescued}: "
            f"rm -f {path}-wal {path}-shm && mv {rescued} {path}"
        )
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        raise StorageBroken(f"{where} is missing, but its log {log.name} is. Restore it, or move the log away.")
    return True


def _create(path: Path, migrations: Sequence[str]) -> None:
    """A new journal is there as a whole or not at all, so that an empty file is never one."""
    new = Path(f"{path}.new")
    for file in (new, Path(f"{new}-journal")):
        file.unlink(missing_ok=True)
    try:
        make_private(new)
        connection = sqlite3.connect(new, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # can be chosen only now, or by a VACUUM
            migrate(connection, migrations)
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


def make_private(path: Path) -> None:
    """An empty file for this user alone, for it holds keys and questions; SQLite gives its logs the same mode."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _examine(path: Path, known: int, where: str, setting: str) -> None:
    """Raises `StorageBroken` for a file that cannot be trusted; writes nothing."""
    with path.open("rb") as file:
        head = file.read(len(HEADER))
    if head != HEADER:
        what = "is not a SQLite file" if head else "is an empty file"
        raise StorageBroken(f"{where} {what}. Restore it from a backup, or move it away.")
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if (version == 0) != (tables == 0):
            raise StorageBroken(f"{where} is another program's SQLite file. Set another {setting}.")
        _refuse_newer(version, known, where)
        if path.stat().st_size < CHECKED_BYTES:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                said = verdict.splitlines()[-1]  # the first may be a heading
                raise StorageBroken(f"{where} is damaged ({said}). Restore it from a backup, or move it away.")
    finally:
        connection.close()


def _refuse_newer(version: int, known: int, where: str) -> None:
    if version > known:
        raise StorageBroken(
            f"{where} was written by a newer Muster (format {version}, this one knows {known}): upgrade Muster."
        )
