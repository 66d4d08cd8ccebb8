"""The journal's file: held by one process, created whole or not at all, examined before it is trusted, migrated."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.db.migration import migrate
from shared.errors import MusterError, StorageBroken, StorageFull
from shared.failpoints import At, nowhere

CHECKED_BYTES = 64_000_000  # a larger file is not read through at start; its schema still is
KEPT_LOG_BYTES = 64_000_000  # what the write-ahead log may keep of the disk after a large write
FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
HEADER = b"SQLite format 3\x00"


def code(exc: Exception) -> int:
    """SQLite's primary result code, or one of `FULL`; 0 for what SQLite has never seen."""
    found: int = getattr(exc, "sqlite_errorcode", 0)
    return found if found in FULL else found & 0xFF


def translated(exc: Exception) -> MusterError:
    """Translates an error of SQLite's."""
    if code(exc) in FULL:
        return StorageFull("The journal's disk is full; nothing was written. Free some space.")
    return StorageBroken(f"The journal cannot be used: {exc}.")


@dataclass(frozen=True)
class Naming:
    """How errors speak of a file: what it is, whose, and the setting that says where it lies."""

    what: str = "The journal"
    owner: str = "coordinator"
    setting: str = "DATABASE_URL"


JOURNAL = Naming()


def held(path: Path, naming: Naming = JOURNAL) -> int:
    """A locked file beside the journal, as a descriptor; raises `StorageBroken` while another process has it."""
    where = f"{naming.what} {path}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as exc:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise StorageBroken(
                f"{where} is in use by another {naming.owner} (process {holder}). "
                f"Stop it, or set another {naming.setting}."
            ) from exc
        except OSError:
            os.close(lock)
            raise
    except OSError as exc:
        raise _unusable(where, exc) from exc
    return lock


def opened(path: Path, migrations: Sequence[str], naming: Naming = JOURNAL, *, at: At = nowhere) -> sqlite3.Connection:
    """The writer's connection to a journal of the newest format; raises `StorageBroken` or `StorageFull`."""
    where = f"{naming.what} {path}"
    try:
        if _is_new(path, where):
            _create(path, migrations)
        if not os.access(path, os.R_OK | os.W_OK):  # a restored file that is root's; SQLite would speak of damage
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        _examine(path, len(migrations), where, naming.setting)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=OFF",
            "cache_size=-8000",
            f"journal_size_limit={KEPT_LOG_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        migrate(connection, migrations, at=at)
    except OSError as exc:
        raise _unusable(where, exc) from exc
    except sqlite3.Error as exc:
        if code(exc) in FULL:
            raise StorageFull(f"{where} cannot be opened: the disk is full. Free some space.") from exc
        raise StorageBroken(
            f"{where} is damaged or unusable ({exc}). Restore it from a backup, or move it away."
        ) from exc
    return connection


def _is_new(path: Path, where: str) -> bool:
    """Whether there is no journal yet; raises `StorageBroken` when only its log is left."""
    if path.exists():
        return False
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
                raise StorageBroken(f"{where} is damaged ({verdict}). Restore it from a backup, or move it away.")
    finally:
        connection.close()


def _refuse_newer(version: int, known: int, where: str) -> None:
    if version > known:
        raise StorageBroken(
            f"{where} was written by a newer Muster (format {version}, this one knows {known}): upgrade Muster."
        )


def _unusable(where: str, exc: OSError) -> MusterError:
    if exc.errno == errno.ENOSPC:
        return StorageFull(f"{where} cannot be opened: the disk is full. Free some space.")
    if exc.errno in (errno.EACCES, errno.EPERM):
        folder = Path(str(exc.filename)).parent
        what = f"This user must own the folder: chown -R {os.geteuid()} {folder}"
        return StorageBroken(f"{where} cannot be opened: {exc.strerror}. {what}")
    return StorageBroken(f"{where} cannot be opened: {exc.strerror}. Is the folder writable?")
