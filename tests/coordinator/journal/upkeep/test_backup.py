"""A backup is one state of a journal that is being written and of what lies beside it, or nothing."""

import sqlite3
import threading

import pytest
from typer.testing import CliRunner

from coordinator.cli.commands import cli
from coordinator.journal.upkeep.backup import BESIDE, BackupFailed, backup
from shared.memory import store as memory
from shared.protocols.a2a import mount as a2a
from tests.support.fakes import Network, Suite


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


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_copy_is_one_file_with_everything(journal, tmp_path):
    """Copy holds what the log holds and is one file."""
    shares = []

    size = backup(f"sqlite:///{tmp_path}/muster.db", tmp_path / "backup", tell=shares.append)

    assert rows(tmp_path / "backup/muster.db") == (3_000, 4_498_500, 4_498_500)
    assert size == (tmp_path / "backup/muster.db").stat().st_size > 6_000_000
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert names(tmp_path / "backup") == {"muster.db"}
    assert (tmp_path / "backup/muster.db").stat().st_mode & 0o777 == 0o600


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
        backup(f"sqlite:///{tmp_path}/muster.db", tmp_path / "backup")
        count, one, two = rows(tmp_path / "backup/muster.db")
        assert count > 3_000
        assert one == two
    ended.set()
    writer.join()


async def test_conversations_and_a2a_tasks_come_back_on_restore(tmp_path):
    """What clients of other protocols can ask for is backed up with the tasks behind it."""
    said = {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "What is a lease?"}]}
    message = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": said}}
    async with Suite(Network(), database_url=f"sqlite:///{tmp_path}/muster.db") as suite:
        answer = await suite.client.post("/a2a", json=message, headers={"A2A-Version": "1.0"})
        task = answer.json()["result"]["task"]

        backup(f"sqlite:///{tmp_path}/muster.db", tmp_path / "backup")

    assert names(tmp_path / "backup") == {"muster.db", *BESIDE} == {"muster.db", a2a.FILE, memory.FILE}
    async with Suite(Network(), database_url=f"sqlite:///{tmp_path}/backup/muster.db") as suite:
        wanted = {"jsonrpc": "2.0", "id": 2, "method": "GetTask", "params": {"id": task["id"]}}
        found = (await suite.client.post("/a2a", json=wanted, headers={"A2A-Version": "1.0"})).json()["result"]
        assert (found["id"], found["status"]["state"]) == (task["id"], task["status"]["state"])
        assert (await suite.client.get("/memory/sessions")).json()["sessions"] == [task["contextId"]]


def test_older_backups_leave_nothing_behind(journal, tmp_path):
    """What is beside the journal no more is not left from an earlier backup."""
    beside = tmp_path / "memory.db"
    with sqlite3.connect(beside) as connection:
        connection.execute("CREATE TABLE sessions (id TEXT)")
    url = f"sqlite:///{tmp_path}/muster.db"
    backup(url, tmp_path / "backup")
    (tmp_path / "backup/notes.txt").write_text("not ours")
    assert names(tmp_path / "backup") == {"muster.db", "memory.db", "notes.txt"}

    beside.unlink()
    backup(url, tmp_path / "backup")

    assert names(tmp_path / "backup") == {"muster.db", "notes.txt"}


@pytest.mark.parametrize(
    ("url", "said"),
    [("memory:", "is not a file"), ("sqlite:///nowhere/muster.db", "which does not exist")],
)
def test_what_cannot_be_copied(tmp_path, url, said):
    with pytest.raises(BackupFailed, match=said):
        backup(url, tmp_path / "backup")


def test_backup_into_the_journals_folder_is_refused(journal, tmp_path):
    """The journal's own folder is no place for its backup."""
    with pytest.raises(BackupFailed, match="own folder"):
        backup(f"sqlite:///{tmp_path}/muster.db", tmp_path)

    assert journal.execute("SELECT count(*) FROM pairs").fetchone()[0] == 3_000


@pytest.mark.parametrize("broken", ["muster.db", "a2a.db"])
def test_a_failed_backup_leaves_the_last_one(journal, tmp_path, broken):
    """The last one as a whole: no file of it is replaced where another cannot be."""
    source, kept = tmp_path / "source", tmp_path / "backup"
    source.mkdir()
    for name in ("muster.db", "a2a.db"):
        with sqlite3.connect(source / name) as connection:
            connection.execute("CREATE TABLE pairs AS SELECT 1 AS one, 1 AS two")
    backup(f"sqlite:///{source}/muster.db", kept)
    for name in ("muster.db", "a2a.db"):
        with sqlite3.connect(source / name) as connection:
            connection.execute("INSERT INTO pairs VALUES (2, 2)")
    (source / broken).write_bytes(b"SQLite format 3\x00" + b"rubbish" * 1_000)

    with pytest.raises(BackupFailed, match=f"{broken} cannot be copied"):
        backup(f"sqlite:///{source}/muster.db", kept)

    assert names(kept) == {"muster.db", "a2a.db"}
    assert [rows(kept / name) for name in ("muster.db", "a2a.db")] == [(1, 1, 1)] * 2


def test_the_command(journal, tmp_path):
    url = f"sqlite:///{tmp_path}/muster.db"
    done = CliRunner().invoke(cli, ["backup", str(tmp_path / "backup"), "--database-url", url])
    assert done.exit_code == 0, done.output
    assert "MB, with every task up to now" in done.output

    for place in ("no/backup", "muster.db"):  # without its folder, and where a file is
        done = CliRunner().invoke(cli, ["backup", str(tmp_path / place), "--database-url", url])
        assert done.exit_code == 1
        assert "cannot be written" in done.output
