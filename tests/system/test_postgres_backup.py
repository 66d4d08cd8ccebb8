"""What docs/backup.md says of PostgreSQL: a dump put back into a new database, and the way back to any moment."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.postgres import UNSAFE, Server, find_programs, serve
from tests.support.processes import Agents, Coordinator

pytestmark = pytest.mark.timeout(300)


def send(coordinator: Coordinator, *, waits: bool, **given: object) -> str:
    plan = [{"id": "a", "capability": "plain"}, {"id": "b", "capability": "worker", "needs": ["a"], "input": given}]
    body = {"task_description": "Do it", "timeout_seconds": 300.0, "plan": plan}
    headers = {} if waits else {"Prefer": "respond-async"}
    answer = httpx.post(f"{coordinator.url}/execute_task", json=body, headers=headers, timeout=120)
    assert answer.status_code in (200, 202), answer.text
    return str(answer.json()["task_id"])


def read(coordinator: Coordinator, task_id: str) -> dict[str, Any]:
    """A task as the coordinator answers it, "status" 404 where there is none."""
    answer = httpx.get(f"{coordinator.url}/tasks/{task_id}", timeout=60)
    found: dict[str, Any] = answer.json()
    return found if answer.status_code == 200 else {"status": answer.status_code}


def wait_for_step(agents: Agents, task_id: str, step_id: str) -> None:
    """Until an agent has begun the step."""
    until = time.monotonic() + 60
    while (task_id, step_id) not in {(task, step) for _, task, step in agents.executions()}:
        assert time.monotonic() < until, "The step was not begun."
        time.sleep(0.05)


def test_dump_is_restored_into_a_new_database(tmp_path: Path, postgres: Server):
    """Made while a coordinator runs. What had ended is there; what was open goes on, but for its finished step."""
    first, second = postgres.make_database(), postgres.make_database()
    dump = postgres.folder / f"{first.rpartition('/')[2]}.dump"
    with Coordinator(tmp_path / "c", journal=first) as coordinator:
        coordinator.start().ready()
        with Agents(tmp_path / "agents", coordinator.url) as agents:
            agents.register()
            ended = send(coordinator, waits=True)
            opened = send(coordinator, waits=False, delay_ms=1_000, hang=True)
            wait_for_step(agents, opened, "b")
            postgres.run_program("pg_dump", "--format=custom", f"--file={dump}", first)
            later = send(coordinator, waits=True)
            kept = read(coordinator, ended)
            coordinator.kill()

            postgres.run_program("pg_restore", "--exit-on-error", f"--dbname={second}", str(dump))
            coordinator.use(second)
            coordinator.start().ready()
            agents.register()
            assert read(coordinator, ended) == kept
            assert read(coordinator, later)["status"] == 404
            assert read(coordinator, opened)["status"] in ("queued", "running")
            again = send(coordinator, waits=True)
            assert read(coordinator, again)["status"] == "completed"
            assert [step for _, task, step in agents.executions() if task == opened].count("a") == 1


@pytest.fixture
def archived() -> Iterator[Server]:
    """A server that archives its log, as the page says."""
    if find_programs() is None and not os.environ.get("CI"):
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql).")
    with tempfile.TemporaryDirectory(prefix="muster-archived-") as name:
        folder = Path(name)
        options = ("archive_mode=on", f"archive_command=test ! -f {folder}/archive/%f && cp %p {folder}/archive/%f")
        with serve(folder, *UNSAFE, *options) as server:
            (folder / "archive").mkdir()
            shutil.chown(folder / "archive", (folder / "data").owner())
            yield server


def test_database_goes_back_to_a_moment(tmp_path: Path, archived: Server):
    """Between two tasks: the first one is there, and the second one is not."""
    url = archived.make_database()
    base, data = archived.folder / "base", archived.folder / "data"
    address = ("--host=127.0.0.1", f"--port={archived.port}", "--username=muster")
    with Coordinator(tmp_path / "c", journal=url) as coordinator:
        coordinator.start().ready()
        with Agents(tmp_path / "agents", coordinator.url) as agents:
            agents.register()
            archived.run_program("pg_basebackup", *address, f"--pgdata={base}", "--checkpoint=fast")
            first = send(coordinator, waits=True)
            moment = archived.run_sql("postgres", "SELECT clock_timestamp()")
            second = send(coordinator, waits=True)
            archived.run_sql("postgres", "SELECT pg_switch_wal()")
            kept = read(coordinator, first)
            coordinator.kill()
            archived.stop()

            data.rename(archived.folder / "data.before")
            base.rename(data)
            with (data / "postgresql.conf").open("a") as settings:
                settings.write(f"restore_command = 'cp {archived.folder}/archive/%f %p'\n")
                settings.write(f"recovery_target_time = '{moment}'\nrecovery_target_action = 'promote'\n")
            (data / "recovery.signal").touch()
            archived.start()
            while archived.run_sql("postgres", "SELECT pg_is_in_recovery()") == "t":
                time.sleep(0.05)
            coordinator.start().ready()
            agents.register()
            assert read(coordinator, first) == kept
            assert read(coordinator, second)["status"] == 404
            assert read(coordinator, send(coordinator, waits=True))["status"] == "completed"
