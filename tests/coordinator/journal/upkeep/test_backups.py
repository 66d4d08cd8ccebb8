"""Backups by a timer, and restoring one: what is kept, what is refused, and what a kill in between leaves."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.cli.commands import cli
from coordinator.journal.upkeep.backup import BackupFailed
from coordinator.journal.upkeep.backups import Backups, check_backup, find_backups
from coordinator.journal.upkeep.restore import RestoreFailed, restore
from shared.db.mark import read_mark
from shared.errors import MusterError, StorageBroken
from shared.settings import CoordinatorSettings
from tests.support.fakes import Network, Suite, agent, eventually

DAY = 86_400.0
ROOT = Path(__file__).parents[4]


class Journal:
    """A journal in a folder, with its URL, and backups of it by a clock that the test turns."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "data" / "muster.db"
        self.url = f"sqlite:///{self.path}"
        self.folder = folder / "backups"
        self.now = 1_700_000_000.0
        self.told: list[str] = []
        self.backups = Backups(
            self.url, folder=self.folder, every=DAY, keep=3, wall=lambda: self.now, tell=self.told.append
        )

    async def execute(self) -> str:
        """Carries a task through a coordinator that stops again; its id."""
        async with Suite(Network(), agent("echo", "echo"), database_url=self.url) as suite:
            return (await suite.execute(agents=["echo"])).task_id

    async def knows(self, *ids: str) -> list[bool]:
        async with Suite(Network(), database_url=self.url) as suite:
            return [(await suite.client.get(f"/tasks/{id}")).is_success for id in ids]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


async def test_the_newest_three_are_kept(journal: Journal) -> None:
    await journal.execute()
    assert journal.backups.age() == math.inf
    made = []
    for _ in range(5):
        made.append(journal.backups.make()[0])
        journal.now += DAY

    assert find_backups(journal.folder) == made[-3:]
    assert journal.backups.age() == DAY


async def test_clock_that_went_back_keeps_new_backups(journal: Journal) -> None:
    """Those that it has made in the future go first."""
    await journal.execute()
    ahead = [(journal.backups.make()[0], setattr(journal, "now", journal.now + DAY))[0] for _ in range(3)]

    journal.now -= 30 * DAY
    made = journal.backups.make()[0]

    assert find_backups(journal.folder) == [made, *ahead[1:]]


async def test_other_files_there_are_left_alone(journal: Journal) -> None:
    """But for what a kill has left of a backup."""
    await journal.execute()
    (journal.folder / "notes").mkdir(parents=True)
    (journal.folder / ".20231114T221320Z.part").mkdir()
    for _ in range(4):
        journal.backups.make()
        journal.now += DAY

    assert sorted(path.name for path in journal.folder.iterdir() if path not in find_backups(journal.folder)) == [
        "notes"
    ]


async def test_a_timer_makes_them_while_tasks_run(tmp_path: Path) -> None:
    """The first at once, and the metrics tell how old it is."""
    url = f"sqlite:///{tmp_path}/muster.db"
    more = {"backup_every": 3_600, "backup_dir": tmp_path / "backups"}
    async with Suite(Network(), agent("echo", "echo"), database_url=url, **more) as suite:
        await eventually(lambda: find_backups(tmp_path / "backups"), seconds=30)
        text = (await suite.client.get("/metrics")).text

    assert check_backup(find_backups(tmp_path / "backups")[0]).name == "muster.db"
    assert 'muster_backups_total{outcome="failed"} 0.0' in text
    assert "muster_backup_every_seconds 3600.0" in text
    assert "muster_backup_age_seconds +Inf" not in text


async def test_a_backup_that_fails_is_counted_and_tried_again(tmp_path: Path) -> None:
    """A file is where the folder should be: the coordinator works on."""
    (tmp_path / "backups").write_text("in the way")
    url = f"sqlite:///{tmp_path}/muster.db"
    more = {"backup_every": 3_600, "backup_dir": tmp_path / "backups"}
    async with Suite(Network(), agent("echo", "echo"), database_url=url, **more) as suite:

        async def counted() -> bool:
            return 'muster_backups_total{outcome="failed"} 1.0' in (await suite.client.get("/metrics")).text

        await eventually(counted, seconds=30)
        assert (await suite.execute(agents=["echo"])).status == "completed"


async def test_without_a_journal_a_timer_is_refused() -> None:
    with pytest.raises(MusterError, match="BACKUP_EVERY is set"):
        async with Suite(Network(), backup_every=60):
            pass


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("30m", 1_800), ("6h", 21_600), ("1d", DAY), ("", None)])
def test_a_pause_has_a_unit(text: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_EVERY", text)

    assert CoordinatorSettings(_env_file=None).backup_every == seconds


@pytest.mark.parametrize("text", ["often", "0", "-1h", "h", "nan", "inf"])
def test_a_pause_that_means_nothing_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_EVERY", text)

    with pytest.raises(ValueError, match="backup_every"):
        CoordinatorSettings(_env_file=None)


async def test_restore_takes_the_newest_and_keeps_what_was_there(journal: Journal) -> None:
    """Its log too: what came after the backup is gone from the journal, and still in the folder beside it."""
    first = await journal.execute()
    journal.backups.make()
    journal.now += DAY
    second = await journal.execute()
    journal.backups.make()
    third = await journal.execute()

    done = restore(journal.url, journal.folder)

    assert done.backup == find_backups(journal.folder)[-1]
    assert read_mark(journal.path)  # so that what is lost from now on is noticed
    assert await journal.knows(first, second, third) == [True, True, False]
    with closing(sqlite3.connect(done.kept / "muster.db")) as kept:
        assert {id for (id,) in kept.execute("SELECT task_id FROM history")} == {first, second, third}


async def test_restore_into_an_empty_folder(journal: Journal) -> None:
    """The disk was lost, the backups were not."""
    first = await journal.execute()
    journal.backups.make()
    for path in journal.path.parent.iterdir():
        path.unlink()

    restore(journal.url, journal.folder)

    assert await journal.knows(first) == [True]


async def test_a_damaged_journal_is_replaced(journal: Journal) -> None:
    """That is what backups are for."""
    first = await journal.execute()
    journal.backups.make()
    journal.path.write_bytes(b"rubbish" * 1_000)

    restore(journal.url, journal.folder)

    assert await journal.knows(first) == [True]


async def test_restore_refuses_what_it_cannot_use(journal: Journal, tmp_path: Path) -> None:
    """A damaged backup, no backup, one of a newer Muster: the journal stays as it is."""
    first = await journal.execute()
    made, _ = journal.backups.make()
    before = journal.path.read_bytes()
    with pytest.raises(RestoreFailed, match="is not a backup"):
        restore(journal.url, tmp_path / "nowhere")
    with closing(sqlite3.connect(made / "muster.db")) as copy:
        copy.execute("PRAGMA user_version=999")
    with pytest.raises(RestoreFailed, match="newer Muster"):
        restore(journal.url, made)
    (made / "muster.db").write_bytes((made / "muster.db").read_bytes()[:5_000])
    with pytest.raises(RestoreFailed, match=r"muster\.db (is damaged|cannot be used)"):
        restore(journal.url, made)

    assert journal.path.read_bytes() == before
    assert await journal.knows(first) == [True]


async def test_restore_refuses_while_a_coordinator_runs(journal: Journal) -> None:
    async with Suite(Network(), database_url=journal.url):
        journal.backups.make()
        with pytest.raises(StorageBroken, match="is in use"):
            restore(journal.url, journal.folder)


@pytest.mark.parametrize("at", ["rename", "replace", "unlink"])
async def test_a_restore_cut_off_is_never_half_used(journal: Journal, at: str) -> None:
    """A kill at any exchange leaves the journal as it was, the backup, or a start that is refused."""
    first = await journal.execute()
    journal.backups.make()
    second = await journal.execute()
    for number in range(1, 8):
        cut_off(journal, at, number)
        try:
            known = await journal.knows(first, second)
        except StorageBroken:
            continue
        assert known in ([True, True], [True, False])

    restore(journal.url, journal.folder)
    assert await journal.knows(first, second) == [True, False]


def cut_off(journal: Journal, at: str, number: int) -> None:
    """Restores in a process that dies before its call `number` of a method of Path."""
    script = f"""
import os, pathlib, sys
calls, true = [], pathlib.Path.{at}
def dying(*given, **more):
    calls.append(1)
    if len(calls) == {number}:
        os._exit(9)
    return true(*given, **more)
pathlib.Path.{at} = dying
from coordinator.journal.upkeep.restore import restore
restore(sys.argv[1], pathlib.Path(sys.argv[2]), now={number})
"""
    done = subprocess.run([sys.executable, "-c", script, journal.url, str(journal.folder)], cwd=ROOT, check=False)
    assert done.returncode in (0, 9)


async def test_an_empty_backup_is_none(journal: Journal) -> None:
    journal.folder.mkdir()
    with pytest.raises(BackupFailed, match="holds 0 journals"):
        check_backup(journal.folder)


async def test_the_command_says_what_it_did(journal: Journal) -> None:
    await journal.execute()
    made, _ = journal.backups.make()

    done = CliRunner().invoke(cli, ["restore", str(journal.folder), "--database-url", journal.url])
    refused = CliRunner().invoke(cli, ["restore", str(journal.folder / "nowhere"), "--database-url", journal.url])

    assert done.exit_code == 0
    assert made.name in done.output.replace("\n", "")
    assert "before-restore-" in done.output.replace("\n", "")
    assert refused.exit_code == 1
