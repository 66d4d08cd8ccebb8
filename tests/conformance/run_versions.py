"""Runs this version beside an earlier one, as processes: coordinator and workers mixed both ways, and one journal.

`python -m tests.conformance.run_versions [revision]`; the earlier version is 0.1.0 unless a revision is named, and its
source comes from the history of this clone. Exits with 0 where the clone has no such revision, and says so.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import Coordinator, Service

ROOT = Path(__file__).parents[2]
EARLIER = "9fc319748e6e9fdb1fc7d5fc2559908df1378a97"  # v0.1.0; a full clone has the commit, also without the tag
WORKERS = ("researcher", "analyzer", "reporter")
QUESTION = "What happens to a running task when the coordinator is killed?"
WHOLE, CUT = 3, 20  # tasks that are waited for, and tasks in whose midst the coordinator is killed
SECONDS = 60.0  # for whatever is waited for


def main() -> int:
    revision = sys.argv[1] if len(sys.argv) > 1 else EARLIER
    git = ["git", "-C", str(ROOT), "archive", revision, "coordinator", "shared", "workers"]
    packed = subprocess.run(git, check=False, capture_output=True)
    if packed.returncode != 0:
        print(f"SKIPPED: an earlier version (this clone has no revision {revision}; try git fetch --unshallow)")
        return 0
    with tempfile.TemporaryDirectory() as made:
        folder, earlier = Path(made), Path(made) / "earlier"
        with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
            archive.extractall(earlier, filter="data")
        check_mixed(folder / "earlier-coordinator", earlier, ROOT)
        print("PASSED: coordinator of the earlier version, workers of this one")
        check_mixed(folder / "earlier-workers", ROOT, earlier)
        print("PASSED: coordinator of this version, workers of the earlier one")
        check_journal(folder / "journal", earlier)
        print("PASSED: a journal of the earlier version reads the same, and its open tasks complete")
    return 0


def check_mixed(folder: Path, coordinator: Path, workers: Path) -> None:
    """Tasks, events and chats complete, also around a kill of the coordinator; workers that stop leave the registry."""
    with opened(folder, coordinator) as (service, client):
        with working(folder, workers, client) as started:
            for number in range(WHOLE):
                expect_report(execute(client, f"whole-{number}"))
            expect_events(client)
            expect_chat(client)
            for worker in started:
                worker.process.tell(signal.SIGSTOP)  # so that every task is in the midst of a step
            begun = [begin(client, f"cut-{number}") for number in range(CUT)]
            service.kill()
            for worker in started:
                worker.process.tell(signal.SIGCONT)
            service.start().ready()
            for id in begun:
                expect_report(ended(client, id))
        wait_until(lambda: not client.get("/agents").json()["agents"], "the workers are still registered")


def check_journal(folder: Path, earlier: Path) -> None:
    """What an earlier version wrote reads the same and keeps its keys; what it left open goes on."""
    with opened(folder, earlier) as (service, client):
        with working(folder, earlier, client, stops=False):
            done = {f"done-{number}": execute(client, f"done-{number}")["task_id"] for number in range(WHOLE)}
        before = {id: client.get(f"/tasks/{id}").json() for id in done.values()}
        left = [begin(client, f"left-{number}") for number in range(CUT)]  # the workers are gone
        service.kill()
    with opened(folder, ROOT) as (_, client), working(folder, ROOT, client):
        for id in left:
            expect_report(ended(client, id))
        for key, id in done.items():
            now = client.get(f"/tasks/{id}").json()
            assert {name: now[name] for name in before[id]} == before[id], now
            assert execute(client, key)["task_id"] == id
        listed = {task["task_id"] for task in client.get("/tasks", params={"limit": 100}).json()["tasks"]}
        assert listed == {*left, *done.values()}


@contextmanager
def opened(folder: Path, tree: Path) -> Iterator[tuple[Coordinator, httpx.Client]]:
    """A coordinator from the source in `tree` over the journal in `folder`, and a client of it."""
    with (
        Coordinator(folder, warm=False, pythonpath=tree) as service,
        httpx.Client(base_url=service.url, timeout=SECONDS) as client,
    ):
        service.start().ready()
        yield service, client


@contextmanager
def working(folder: Path, tree: Path, client: httpx.Client, *, stops: bool = True) -> Iterator[list[Service]]:
    """The three workers from the source in `tree`, healthy; at the end they are told to stop, or killed."""
    env = {"PYTHONPATH": str(tree), "COORDINATOR_URL": str(client.base_url), "KNOWLEDGE_DIR": str(ROOT / "docs")}
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                Service(f"workers.{name}", folder / name, env=env | {"STATE_DIR": str(folder / name)}, warm=False)
            )
            for name in WORKERS
        ]
        for worker in workers:
            worker.start()
        wait_until(lambda: healthy(client) == set(WORKERS), "the workers are not healthy")
        yield workers
        for worker in workers if stops else ():
            worker.process.stop()


def healthy(client: httpx.Client) -> set[str]:
    return {agent["name"] for agent in client.get("/agents", params={"status": "healthy"}).json()["agents"]}


def execute(client: httpx.Client, key: str) -> dict[str, Any]:
    answer = client.post("/execute_task", json={"task_description": QUESTION}, headers={"Idempotency-Key": key})
    assert answer.status_code == 200, answer.text
    task: dict[str, Any] = answer.json()
    return task


def begin(client: httpx.Client, key: str) -> str:
    headers = {"Idempotency-Key": key, "Prefer": "respond-async"}
    body = {"task_description": QUESTION, "timeout_seconds": 2 * SECONDS}
    answer = client.post("/execute_task", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


def ended(client: httpx.Client, id: str) -> dict[str, Any]:
    wait_until(lambda: client.get(f"/tasks/{id}").json()["status"] not in ("queued", "running"), f"{id} does not end")
    task: dict[str, Any] = client.get(f"/tasks/{id}").json()
    return task


def expect_report(task: dict[str, Any]) -> None:
    assert task["status"] == "completed", task
    assert task["result"]["report"], task


def expect_events(client: httpx.Client) -> None:
    headers = {"Accept": "text/event-stream"}
    with client.stream("POST", "/execute_task", json={"task_description": QUESTION}, headers=headers) as stream:
        names = [line.partition(" ")[2] for line in stream.iter_lines() if line.startswith("event:")]
    assert names.count("step.finished") == len(WORKERS), names
    assert names[-2:] == ["task.finished", "result"], names


def expect_chat(client: httpx.Client) -> None:
    body = {"model": "researcher", "messages": [{"role": "user", "content": QUESTION}]}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"], answer.text


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < until, otherwise
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
