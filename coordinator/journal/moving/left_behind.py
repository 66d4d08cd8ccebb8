"""Finds a journal in a file that was in use before DATABASE_URL named a server, and that nobody has moved there."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from coordinator.journal import sql
from coordinator.journal.location import SQLITE, shown
from coordinator.journal.moving.tables import MOVED
from shared.errors import StorageBroken
from shared.settings import CoordinatorSettings

IN_CONTAINERS = Path("/data/muster.db")  # where the compose files keep it
BY_DEFAULT = Path(str(CoordinatorSettings.model_fields["database_url"].default).removeprefix(SQLITE))
COMPOSE = "docker-compose -f docker-compose.prod.yml run --rm --no-deps coordinator python"
HERE = ".venv/bin/python"


def refuse_left_behind(database_url: str, *, among: Iterable[Path] = (IN_CONTAINERS, BY_DEFAULT)) -> None:
    """Raises `StorageBroken` with the command that moves it, where one of the known places has one with tasks."""
    for path in among:
        try:
            left = path.is_file() and _has_tasks(path)
        except (sqlite3.Error, OSError, UnicodeError) as exc:
            raise StorageBroken(
                f"The journal {path.absolute()} was in use before and cannot be read ({exc}): its tasks may not be in "
                f"{shown(database_url)} yet. Move the file away to go on without them."
            ) from exc
        if left:
            raise StorageBroken(
                f"The journal {path.absolute()} has tasks that were not moved to {shown(database_url)}. Move them: "
                f"{_make_command(path, database_url)} (Or move the file away, to go on without them.)"
            )


def _has_tasks(path: Path) -> bool:
    """Whether there are tasks, and no note that they were moved."""
    uri = path.absolute().as_uri()
    try:
        return _ask(f"{uri}?mode=ro")
    except sqlite3.OperationalError:
        if Path(f"{path}-wal").exists() and Path(f"{path}-wal").stat().st_size:
            raise
        return _ask(
            f"{uri}?immutable=1"
        )  # a folder that cannot be written, where SQLite cannot make its index of the log


def _ask(uri: str) -> bool:
    with closing(sqlite3.connect(uri, uri=True)) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"tasks", "meta"} <= tables or db.execute(sql.GET_META, {"key": MOVED}).fetchone():
            return False
        return any(
            db.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone()[0]
            for table in tables & {"tasks", "history"}
        )


def _make_command(path: Path, database_url: str) -> str:
    program = COMPOSE if path == IN_CONTAINERS else HERE
    whole = shown(database_url) == database_url  # a password is not shown: there, DATABASE_URL stands for it
    to = f" --to {shlex.quote(database_url)}" if whole else ""
    return f"{program} -m coordinator.cli migrate --from {SQLITE}{path.absolute()}{to}"
