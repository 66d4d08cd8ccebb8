"""A backup is one state of a journal that is being written, or nothing."""

import sqlite3
import threading

import pytest
from typer.testing import CliRunner

from coordinator.backup import BackupFailed, backup
from coordinator.cli import cli


@pytest.fixture
def journal(tmp_path):
    """A journal in WAL mode whose newest rows are not in the file itself yet; its connection stays open."""
    connection = sqlite3.connect(tmp_path / "muster.db", check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("CREATE TABLE pairs (one INTEGER, two INTEGER, ballast BLOB)")
    connection.executemany("INSERT INTO pairs VALUES (?, ?, zeroblob(2000))", [(n, n) for n in range(3_000)])
    connection.commit()
    yield connection
    connection.close()


def rows(path):
    with sqlite3.connect(path) as copy:
        return copy.execute("SELECT count(*), sum(one), sum(two) FROM pairs").fetchone()


def test_copy_holds_what_the_log_holds_and_is_one_file(journal, tmp_path):
    shares = []

    size = backup(f"sqlite:///{tmp_path}/muster.db", tmp_path / "backup.db", tell=shares.append)

    assert rows(tmp_path / "backup.db") == (3_000, 4_498_500, 4_498_500)
    assert size == (tmp_path / "backup.db").stat().st_size > 6_000_000
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {path.name for path in tmp_path.iterdir() if "backup" in path.name} == {"backup.db"}


def test_copy_is_one_state_while_the_journal_is_written(journal, tmp_path):
    going, ended = threading.Event(), threading.Event()

    def write():
        number = 3_000
        while not ended.is_set():
            with journal:
                journal.execute("INSERT INTO pairs VALUES (?, 0, NULL)", (number,))
                journal.execute("UPDATE pairs SET two = one WHERE one = ?", (number,))
            number += 1
            going.set()

    writer = threading.Thread(target=write)
    writer.start()
    going.wait()
    for _ in range(5):
        backup(f"sqlite:///{tmp_path}/muster.db", tmp_path / "backup.db")
        count, one, two = rows(tmp_path / "backup.db")
        assert count > 3_000
        assert one == two
    ended.set()
    writer.join()


@pytest.mark.parametrize(
    ("url", "said"),
    [("memory:", "is no file that could be copied"), ("sqlite:///nowhere/muster.db", "there is no such file")],
)
def test_what_cannot_be_copied(tmp_path, url, said):
    with pytest.raises(BackupFailed, match=said):
        backup(url, tmp_path / "backup.db")


def test_a_failed_backup_leaves_the_last_one(journal, tmp_path):
    kept = tmp_path / "backup.db"
    backup(f"sqlite:///{tmp_path}/muster.db", kept)
    (tmp_path / "broken.db").write_bytes(b"SQLite format 3\x00" + b"rubbish" * 1_000)

    with pytest.raises(BackupFailed, match="cannot be copied"):
        backup(f"sqlite:///{tmp_path}/broken.db", kept)

    assert rows(kept)[0] == 3_000
    assert not (tmp_path / "backup.db.part").exists()


def test_the_command(journal, tmp_path):
    url = f"sqlite:///{tmp_path}/muster.db"
    done = CliRunner().invoke(cli, ["backup", str(tmp_path / "backup.db"), "--database-url", url])
    assert done.exit_code == 0, done.output
    assert "MB, with every task up to now" in done.output

    done = CliRunner().invoke(cli, ["backup", str(tmp_path / "no" / "backup.db"), "--database-url", url])
    assert done.exit_code == 1
    assert "cannot be copied" in done.output
