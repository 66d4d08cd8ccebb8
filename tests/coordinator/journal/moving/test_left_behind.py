"""A coordinator on a server does not start while a file with tasks lies where the journal was before."""

from __future__ import annotations

import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from coordinator.journal.moving.left_behind import BY_DEFAULT, IN_CONTAINERS, refuse_left_behind
from coordinator.journal.moving.tables import MOVED
from shared.errors import StorageBroken
from tests.support.journals import make_file
from tests.support.postgres import Server
from tests.support.previous import ROOT, find_previous
from tests.support.processes import Coordinator

pytestmark = pytest.mark.timeout(120)
SERVER = "postgresql://muster@postgres/muster"


def test_places_are_those_of_the_settings():
    """The default of DATABASE_URL, and what the compose files set."""
    assert str(BY_DEFAULT) == "data/muster.db"
    assert f"DATABASE_URL:-sqlite:///{IN_CONTAINERS}" in (ROOT / "docker-compose.yml").read_text()


@pytest.mark.parametrize("what", ["tasks", "read-only", "empty", "moved", "none", "foreign", "damaged"])
async def test_only_tasks_that_were_not_moved_count(tmp_path: Path, what: str):
    path = tmp_path / "muster.db"
    if what in ("tasks", "read-only", "moved", "empty"):
        await make_file(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        if what == "empty":
            db.execute("DELETE FROM tasks")
            db.execute("DELETE FROM history")
        elif what == "moved":
            db.execute(f"INSERT INTO meta (key, value) VALUES ('{MOVED}', '')")
        elif what == "foreign":
            db.execute("CREATE TABLE tasks (id)")
    if what == "damaged":
        path.write_bytes(b"SQLite format 3\0" + bytes(4_080))
    if what == "none":
        path.unlink()

    if what in ("empty", "moved", "none", "foreign"):
        refuse_left_behind(SERVER, among=[path])
        return
    with pytest.raises(StorageBroken, match="were not moved to" if what != "damaged" else "cannot be read"):
        refuse_left_behind(SERVER, among=[path])


async def test_password_is_not_in_the_command(tmp_path: Path):
    """There, the setting stands for the address."""
    await make_file(tmp_path / "muster.db")

    with pytest.raises(StorageBroken) as refused:
        refuse_left_behind("postgresql://muster:hush@postgres/muster", among=[tmp_path / "muster.db"])

    assert "hush" not in refused.value.detail
    assert f"migrate --from sqlite:///{tmp_path}/muster.db (Or" in refused.value.detail


def test_command_of_the_refusal_moves_an_older_journal(tmp_path: Path, postgres: Server):
    """From a file of the version before: the start says the command, it is run as it stands, and the start goes on."""
    previous = find_previous()
    through = ["env", f"PYTHONPATH={previous.unpack(tmp_path)}"]
    folder, server = tmp_path / "box", postgres.make_database()
    (folder / "data").mkdir(parents=True)
    with Coordinator(folder, journal=folder / "data/muster.db", warm=False, through=through) as old:
        old.start().ready()
        body = {"task_description": "Wait for an agent", "timeout_seconds": 600}
        asked = httpx.post(f"{old.url}/execute_task", json=body, headers={"Prefer": "respond-async"}, timeout=30)
        old.kill()
    with Coordinator(folder, journal=server) as new:
        assert new.start().process.wait(30) not in (None, 0)
        said = new.process.output
        command = said[said.index(".venv/bin/python -m") :].partition(" (Or")[0].encode().decode("unicode_escape")
        program, *arguments = shlex.split(command)
        assert program == ".venv/bin/python"
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, timeout=60)
        new.start().ready()
        found = httpx.get(f"{new.url}/tasks/{asked.json()['task_id']}", timeout=30)
    assert found.status_code == 200, found.text
