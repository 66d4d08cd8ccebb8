"""Puts a backup in the journal's place, while no coordinator uses it; what was there is kept in a folder beside it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from coordinator.journal import sql
from coordinator.journal.location import journal_path, why_no_file
from coordinator.journal.sql import LAST_EVENT
from coordinator.journal.upkeep.backup import BESIDE, BackupFailed
from coordinator.journal.upkeep.backups import check_backup, find_backups
from shared.db.lock import Lock
from shared.db.mark import write_mark
from shared.db.sqlite_file import make_private
from shared.errors import MusterError

ENDINGS = ("-wal", "-shm", "-mark")  # of files that belong to a database, and to no other


class RestoreFailed(MusterError):
    """The journal is as it was."""

    type, title = "restore_failed", "Restore failed"


@dataclass(frozen=True)
class Restored:
    """Which backup is the journal now, and where the one before is."""

    backup: Path
    kept: Path


def restore(database_url: str, source: Path, *, now: float | None = None) -> Restored:
    """Restores the backup in the folder `source`, or the newest of the timed backups there.

    The backup is checked and copied whole before files are exchanged. A kill leaves the journal as it was, or a
    log without one, with which no coordinator starts until the same command has been run again.
    Raises `RestoreFailed`, and `StorageBroken` while a coordinator uses the journal.
    """
    if (path := journal_path(database_url)) is None:
        raise RestoreFailed(why_no_file(database_url, instead="Put a dump into a new database with pg_restore."))
    path = path.absolute()
    timed = find_backups(source)
    backup = timed[-1] if timed else source
    try:
        journal = check_backup(backup)
    except BackupFailed as exc:
        raise RestoreFailed(exc.detail) from exc
    lock = Lock(path)
    lock.take()
    try:
        return _exchange(path, journal, now=time.time() if now is None else now)
    except OSError as exc:
        raise RestoreFailed(f"{exc.filename or path} cannot be written: {exc.strerror}.") from exc
    finally:
        lock.close()


def _exchange(path: Path, journal: Path, *, now: float) -> Restored:
    with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as copy:
        last = int(copy.execute(sql.LAST_EVENT).fetchone()[0])
    names = {path: journal} | {path.with_name(name): journal.with_name(name) for name in BESIDE}
    parts = {to: to.with_name(f"{to.name}.part") for to, copy in names.items() if copy.is_file()}
    for to, part in parts.items():
        _copy(names[to], part)
    kept = path.with_name(time.strftime("before-restore-%Y%m%dT%H%M%SZ", time.gmtime(now)))
    kept.mkdir(exist_ok=True)
    log, marker = Path(f"{path}-wal"), Path(f"{path}-wal.part")
    marker.write_text(
        "A restore was cut off here. Run it again.\n"
    )  # no log to SQLite, but one without its journal to us
    if not (log.exists() and log.stat().st_size):
        marker.replace(log)
    if path.exists():
        path.rename(kept / path.name)
    if marker.exists():
        os.link(log, kept / log.name)
        marker.replace(log)
    for to in names:
        for file in (to, *(Path(f"{to}{ending}") for ending in ENDINGS)):
            if file.exists() and file != log:
                file.rename(kept / file.name)
    _sync(path.parent)
    for to in sorted(parts, key=lambda to: to == path):
        parts[to].replace(to)
    write_mark(path, last)
    log.unlink()
    write_mark(path, _count_events(path))
    _sync(path.parent)
    return Restored(journal.parent, kept)


def _count_events(journal: Path) -> int:
    """The highest position that the journal has given to an event."""
    with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
        return int(opened.execute(LAST_EVENT).fetchone()[0])


def _copy(source: Path, part: Path) -> None:
    part.unlink(missing_ok=True)
    make_private(part)
    shutil.copyfile(source, part)
    _sync(part)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
