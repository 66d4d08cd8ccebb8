"""Free space goes back to the disk by a command, from old journals, too, and nothing is lost by it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.cli.commands import cli
from coordinator.journal.migrations import MIGRATIONS
from coordinator.journal.upkeep.vacuum import VacuumFailed, vacuum
from shared.db.lock import Lock
from shared.db.sqlite_file import open_journal
from shared.errors import StorageBroken


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal of a format without incremental vacuum, most of it free."""
    path = tmp_path / "muster.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("PRAGMA journal_mode=WAL")
        for statement in MIGRATIONS:
            old.executescript(statement)
        old.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
        old.execute("CREATE TABLE ballast (bytes BLOB)")
        old.executemany("INSERT INTO ballast VALUES (zeroblob(100000))", [()] * 50)
        old.execute("DELETE FROM ballast")
    return path


def test_space_is_given_back(journal: Path) -> None:
    before, after = vacuum(f"sqlite:///{journal}")

    assert before > 5_000_000 > 1_000_000 > after == journal.stat().st_size
    with closing(open_journal(journal, MIGRATIONS)) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_refused_while_a_coordinator_runs(journal: Path) -> None:
    lock = Lock(journal)
    lock.take()

    with pytest.raises(StorageBroken, match="in use by another coordinator"):
        vacuum(f"sqlite:///{journal}")
    lock.close()


@pytest.mark.parametrize("url", ["sqlite:////nowhere/muster.db", "memory:"])
def test_without_a_file_it_says_so(url: str) -> None:
    with pytest.raises(VacuumFailed, match=r"not a file|does not exist"):
        vacuum(url)


def test_the_command_says_what_it_has_done(journal: Path) -> None:
    done = CliRunner().invoke(cli, ["vacuum"], env={"DATABASE_URL": f"sqlite:///{journal}"})

    assert done.exit_code == 0
    assert "it had 5." in done.stderr
