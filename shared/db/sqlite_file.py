"""The journal's file: created whole or not at all, examined before it is trusted, migrated."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

from shared.db import wal
from shared.db.mark import read_mark
from shared.db.migration import migrate
from shared.db.refusals import DAMAGE, JOURNAL, Naming, explain, why_not_shared
from shared.errors import StorageBroken
from shared.failpoints import At, nowhere

CHECKED_BYTES = 64_000_000  # a larger file is not read through at start; its schema still is
KEPT_LOG_BYTES = 64_000_000  # what the write-ahead log may keep of the disk after a large write
RESCUED = ".rescued"  # the end of the name of a copy of a journal whose files were removed
HEADER = b"SQLite format 3\x00"


def open_journal(
    path: Path, migrations: Sequence[str], naming: Naming = JOURNAL, *, at: At = nowhere, accept_loss: bool = False
) -> sqlite3.Connection:
    """The writer's connection to a journal of the newest format; raises `StorageBroken` or `StorageFull`.

    With `accept_loss`, a log that is damaged counts up to there.
    """
    where = f"{naming.what} {path}"
    try:
        if _is_new(path, where, naming.remedy):
            _create(path, migrations)
        if not os.access(path, os.R_OK | os.W_OK):  # a restored file that is root's; SQLite would speak of damage
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        _examine(path, migrations, where, naming, accept_loss=accept_loss)
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
    except (OSError, *DAMAGE) as exc:
        raise explain(exc, path, naming) from exc
    return connection


def _is_new(path: Path, where: str, remedy: str) -> bool:
    """Whether there is no journal yet; raises `StorageBroken` when only its log is left, or what was rescued of it."""
    if path.exists():
        return False
    rescued = Path(f"{path}{RESCUED}")
    if rescued.exists():
        raise StorageBroken(
            f"{where} is missing: it was removed while it was used. All it held is in {rescued}: "
            f"rm -f {path}-wal {path}-shm && mv {rescued} {path}"
        )
    if mark := read_mark(path):
        raise StorageBroken(
            f"{where} is missing, but its mark {path.name}-mark says that it had {mark:,} events. "
            f"{remedy.partition(', or ')[0]}, or remove the mark to begin anew."
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


def _examine(path: Path, migrations: Sequence[str], where: str, naming: Naming, *, accept_loss: bool) -> None:
    """Raises `StorageBroken` for a file that cannot be trusted; writes nothing."""
    with path.open("rb") as file:
        head = file.read(len(HEADER))
    if head != HEADER:
        what = "is not a SQLite file" if head else "is an empty file"
        raise StorageBroken(f"{where} {what}. {naming.remedy}")
    promised = wal.read_index(path)
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    lost = 0 if accept_loss else wal.count_lost(path, promised, wal.read_index(path))
    if lost:
        raise StorageBroken(
            f"{where} is damaged: of its log {path.name}-wal, {lost} pages that were written cannot be read. "
            f"{naming.remedy}"
        )
    if (version == 0) != (tables == 0):
        raise StorageBroken(f"{where} is another program's SQLite file. Set another {naming.setting}.")
    _refuse_newer(version, len(migrations), where)
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        damage = _find_damage(connection, migrations[:version], whole=path.stat().st_size < CHECKED_BYTES)
    if damage:
        raise StorageBroken(f"{where} is damaged ({damage}). {naming.remedy}")


def _find_damage(connection: sqlite3.Connection, migrations: Sequence[str], *, whole: bool) -> str | None:
    """What is wrong with the schema or, where the whole file is looked at, with the pages, indexes and free list."""
    wanted = _make_schema(tuple(migrations))
    found = _read_schema(connection)
    if wrong := sorted(name for name, text in wanted.items() if found.get(name) != text):
        return f"its table or index {wrong[0]} is not as it was made"
    return _check_pages(connection) if whole else None


def find_damage(path: Path) -> str | None:
    """What is wrong with the pages, indexes or free list of a file that may be open; None if nothing."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return _check_pages(connection)
    except DAMAGE as exc:
        return str(exc)


def _check_pages(connection: sqlite3.Connection) -> str | None:
    verdict: str = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    return verdict.splitlines()[-1] if verdict != "ok" else None  # the first line may be a heading


@cache
def _make_schema(migrations: tuple[str, ...]) -> Mapping[str, str]:
    """What a new file has."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
        migrate(new, migrations)
        return _read_schema(new)


def _read_schema(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {name: re.sub(r"--.*|\s", "", sql) for name, sql in rows}  # a comment may be reworded


def _refuse_newer(version: int, known: int, where: str) -> None:
    if version > known:
        raise StorageBroken(
            f"{where} was written by a newer Muster (format {version}, this one knows {known}): upgrade Muster."
        )
