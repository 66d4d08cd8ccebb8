"""The way back to the format of the version before: the same schema, and every task."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.cli.commands import cli
from coordinator.journal.migrations import MIGRATIONS
from coordinator.journal.upkeep.way_back import PREVIOUS, WAYS_BACK, downgrade
from shared.db.migration import migrate
from shared.errors import StorageBroken
from tests.support.fakes import Network, Suite, agent
from tests.support.previous import find_previous

LARGE = "x" * 20_000  # a request that is written apart


def schema(path: Path) -> dict[str, object]:
    """Columns of every table, and the statement of everything else, without white space."""
    with closing(sqlite3.connect(path)) as connection:
        found: dict[str, object] = {}
        for kind, name, text in connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall():
            columns = connection.execute(f"PRAGMA table_xinfo({name})").fetchall()
            found[name] = columns if kind == "table" else re.sub(r"\s+", " ", text or "")
        return found | {"format": connection.execute("PRAGMA user_version").fetchone()[0]}


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return found


def test_every_format_since_the_last_release_has_one() -> None:
    """A migration is not complete without its way back."""
    assert find_previous().format == PREVIOUS
    assert sorted(WAYS_BACK) == list(range(PREVIOUS + 1, len(MIGRATIONS) + 1))


async def test_the_schema_is_that_of_the_version_before(tmp_path: Path) -> None:
    """As if the older version had made the file."""
    url = f"sqlite:///{tmp_path}/muster.db"
    async with Suite(Network(), agent("echo", "echo"), database_url=url) as suite:
        await suite.execute(agents=["echo"])
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as old:
        migrate(old, MIGRATIONS[:PREVIOUS])

    assert downgrade(url) == (len(MIGRATIONS), PREVIOUS)

    assert schema(tmp_path / "muster.db") == schema(tmp_path / "old.db")


async def test_tasks_survive_both_ways(tmp_path: Path) -> None:
    """Ended ones and open ones, with small and large requests."""
    url = f"sqlite:///{tmp_path}/muster.db"
    async with Suite(Network(), agent("echo", "echo"), database_url=url) as suite:
        ended = [(await suite.execute(agents=["echo"], context={"text": text})).task_id for text in ("", LARGE)]
        await suite.register("away", "http://nowhere:1", "vanish")
        steps = [{"id": "a", "capability": "vanish"}]
        opened = [await suite.begin(plan=steps, context={"text": text}, timeout_seconds=600) for text in ("", LARGE)]

    downgrade(url)
    with closing(sqlite3.connect(tmp_path / "muster.db")) as old:
        (request,) = old.execute("SELECT request FROM tasks WHERE id = ?", (opened[1],)).fetchone()
    assert LARGE in request

    async with Suite(Network(), database_url=url) as suite:
        found = [await suite.services.store.task(id) for id in (*ended, *opened)]
    assert [task.context["text"] for task in found if task is not None] == ["", LARGE] * 2  # type: ignore[index,call-overload]


async def test_it_refuses_while_a_coordinator_runs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/muster.db"
    async with Suite(Network(), database_url=url):
        with pytest.raises(StorageBroken, match="is in use"):
            downgrade(url)

    assert version(tmp_path / "muster.db") == len(MIGRATIONS)


async def test_the_command_says_what_comes_next(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/muster.db"
    async with Suite(Network(), database_url=url):
        pass

    done = CliRunner().invoke(cli, ["downgrade", "--database-url", url])
    nowhere = CliRunner().invoke(cli, ["downgrade", "--database-url", f"sqlite:///{tmp_path}/none.db"])

    assert (done.exit_code, nowhere.exit_code) == (0, 1)
    assert version(tmp_path / "muster.db") == PREVIOUS
