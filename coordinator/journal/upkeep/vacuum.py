"""Rewrites the journal's file without its free space, while no coordinator uses it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from coordinator.journal.location import journal_path, why_no_file
from coordinator.journal.migrations import MIGRATIONS
from shared.db.lock import Lock
from shared.db.refusals import translate
from shared.db.sqlite_file import open_journal
from shared.errors import MusterError


class VacuumFailed(MusterError):
    """The journal is as it was."""

    type, title = "vacuum_failed", "The vacuum failed"


def vacuum(database_url: str) -> tuple[int, int]:
    """The file's bytes before and after. From then on it gives space back by itself as history is pruned.

    The file is migrated first where it is older. SQLite writes a copy first, so the disk must have room for one,
    and takes it over in one transaction: a kill leaves the journal as it was. Raises `VacuumFailed`, and
    `StorageBroken` while a coordinator uses the journal.
    """
    if (path := journal_path(database_url)) is None:
        raise VacuumFailed(why_no_file(database_url, instead="PostgreSQL gives space back by itself (autovacuum)."))
    path = path.absolute()
    if not path.is_file():
        raise VacuumFailed(f"DATABASE_URL names {path}, which does not exist.")
    lock = Lock(path)
    lock.take()
    try:
        with closing(open_journal(path, MIGRATIONS)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            before = path.stat().st_size
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return before, path.stat().st_size
    except sqlite3.Error as exc:
        raise translate(exc) from exc
    finally:
        lock.close()
