"""A copy of the journal in one consistent state, made while the coordinator runs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from shared.errors import MusterError

PAGES = 1_000  # copied between two words about how far it is


class BackupFailed(MusterError):
    """No backup was made, and a file of that name is as it was."""

    type, title = "backup_failed", "The backup failed"


def backup(database_url: str, to: Path, *, tell: Callable[[float], None] = lambda _: None) -> int:
    """Copies the journal that `database_url` names to `to`, which is replaced once the copy is whole.

    Uses SQLite's online backup over a read-only connection, so the write-ahead log is in it. `tell` gets the share
    that is done, 0 to 1. Returns the copy's bytes; raises `BackupFailed`.
    """
    if not database_url.startswith("sqlite:///"):
        raise BackupFailed(f"DATABASE_URL={database_url.split('@')[-1]!r} is no file that could be copied.")
    path = Path(database_url.removeprefix("sqlite:///")).absolute()
    if not path.is_file():
        raise BackupFailed(f"DATABASE_URL names {path}, and there is no such file.")
    part = to.with_name(f"{to.name}.part")
    try:
        part.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as journal,
            closing(sqlite3.connect(part)) as copy,
        ):
            journal.execute("BEGIN").execute("SELECT count(*) FROM sqlite_master").fetchone()  # one state, to the end
            journal.backup(copy, pages=PAGES, progress=lambda _, left, total: tell(1 - left / max(1, total)))
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, also where only that one is carried away
            found = copy.execute("PRAGMA quick_check").fetchone()[0]
        if found != "ok":
            raise BackupFailed(f"The journal {path} is damaged: {found}.")
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, to)
    except (sqlite3.Error, OSError) as exc:
        raise BackupFailed(f"{path} cannot be copied to {to}: {exc}.") from exc
    finally:
        part.unlink(missing_ok=True)
    return to.stat().st_size
