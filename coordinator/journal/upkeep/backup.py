"""A copy of what the coordinator keeps, each database in one consistent state, made while it runs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from coordinator.journal import sql
from coordinator.journal.location import journal_path, why_no_file
from shared.db.sqlite_file import make_private
from shared.errors import MusterError

BESIDE = ("a2a.db", "memory.db")  # what lies beside the journal once somebody used it: A2A's tasks, conversations
PAGES = 1_000  # copied between two words about how far it is


class BackupFailed(MusterError):
    """No backup was made, and an earlier one in that folder is as it was."""

    type, title = "backup_failed", "Backup failed"


def backup(database_url: str, to: Path, *, tell: Callable[[float], None] = lambda _: None) -> int:
    """Copies the journal that `database_url` names, and what lies beside it, into the folder `to`, names kept.

    An earlier backup there is replaced once every copy is whole; other files are left alone. Uses SQLite's online
    backup over read-only connections, so the write-ahead logs are in it. The journal comes last: of what the others
    name it may know more, never less. `tell` gets the share that is done, 0 to 1. Returns the copies' bytes; raises
    `BackupFailed`.
    """
    if (path := journal_path(database_url)) is None:
        raise BackupFailed(why_no_file(database_url, instead="Copy the database with pg_dump."))
    journal = path.absolute()
    if not journal.is_file():
        raise BackupFailed(f"DATABASE_URL names {journal}, which does not exist.")
    if to.resolve() == journal.parent.resolve():
        raise BackupFailed(
            f"{to} is the journal's own folder: a backup there would replace the journal. Choose another."
        )
    beside = [journal.with_name(name) for name in BESIDE]
    files = [*(path for path in beside if path.is_file()), journal]
    parts = [to / f"{path.name}.part" for path in files]
    try:
        to.mkdir(exist_ok=True)
        for n, (path, part) in enumerate(zip(files, parts, strict=True)):
            _copy(path, part, tell, done=n, of=len(files))
        for path in files:
            os.replace(to / f"{path.name}.part", to / path.name)
        for path in set(beside) - set(files):
            (to / path.name).unlink(missing_ok=True)  # an earlier backup's, of what is no more
    except OSError as exc:
        raise BackupFailed(f"{to} cannot be written: {exc.strerror or exc}.") from exc
    finally:
        for part in parts:
            with suppress(OSError):
                part.unlink()
    return sum((to / path.name).stat().st_size for path in files)


def _copy(path: Path, part: Path, tell: Callable[[float], None], *, done: int, of: int) -> None:
    part.unlink(missing_ok=True)
    make_private(part)
    try:
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(part)) as to,
        ):
            source.execute("BEGIN").execute("SELECT count(*) FROM sqlite_master").fetchone()  # one state, to the end
            source.backup(to, pages=PAGES, progress=lambda _, left, total: tell((done + 1 - left / max(1, total)) / of))
            to.execute("PRAGMA journal_mode=DELETE")  # one file, also where only that one is carried away
            found = to.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.Error as exc:
        raise BackupFailed(f"{path} cannot be copied to {part.parent}: {exc}.") from exc
    if found != "ok":
        raise BackupFailed(f"{path} is damaged: {found.splitlines()[-1]}.")
    with part.open("rb") as file:
        os.fsync(file.fileno())


def read_secret(database_url: str) -> bytes | None:
    """The coordinator's secret in the journal that `database_url` names; None where there is none to read."""
    try:
        path = journal_path(database_url)
        if path is None:
            return None
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return bytes.fromhex(db.execute(sql.GET_META, {"key": "secret"}).fetchone()[0])
    except (MusterError, sqlite3.Error, ValueError, TypeError):
        return None
