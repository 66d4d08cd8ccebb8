"""One version back, as docs/rollback.md says: the older sources on the journal, with workers of both versions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordinator.journal.upkeep.way_back import downgrade
from shared.version import VERSION
from tests.support.previous import find_previous
from tests.support.processes import Coordinator, Service

WORKERS = ("researcher", "analyzer", "reporter")
PREVIOUS = find_previous()

pytestmark = pytest.mark.timeout(300)


class Box:
    """A journal and three workers' folders, on which services of both versions run in turn."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._sources = PREVIOUS.unpack(folder)
        (folder / "notes").mkdir()
        (folder / "notes" / "lease.md").write_text("# Leases\n\nA lease is a promise that runs out.\n")
        self.journal = folder / "muster.db"
        self.started: list[Service] = []

    def _through(self, *, old: bool) -> list[str]:
        return ["env", f"PYTHONPATH={self._sources}"] if old else []

    def coordinator(self, *, old: bool) -> Coordinator:
        made = Coordinator(
            self._folder / "coordinator", journal=self.journal, warm=False, through=self._through(old=old)
        )
        self._stack.enter_context(made)
        made.start().ready()
        return made

    def worker(self, name: str, coordinator: Coordinator, *, old: bool) -> Service:
        env = {"COORDINATOR_URL": coordinator.url, "KNOWLEDGE_DIR": str(self._folder / "notes")}
        folder = self._folder / name
        made = Service(f"workers.{name}", folder, env=env, warm=False, through=self._through(old=old))
        self._stack.enter_context(made)
        return made.start()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with ExitStack() as stack:
        yield Box(tmp_path, stack)


def wait_for(coordinator: Coordinator, what: str, path: str, true: Any, *, seconds: float = 90.0) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        body = httpx.get(f"{coordinator.url}{path}", timeout=30).json()
        if true(body):
            return body
        time.sleep(0.05)
    raise AssertionError(f"{what} within {seconds:.0f} s: {body}")


def serving(coordinator: Coordinator) -> None:
    def all_there(body: Any) -> bool:
        return {a["name"] for a in body["agents"] if a["status"] == "healthy"} >= set(WORKERS)

    wait_for(coordinator, "All workers are there", "/agents", all_there)


def execute(coordinator: Coordinator, **more: Any) -> dict[str, Any]:
    body = {"task_description": "What is a lease?", "timeout_seconds": 120, **more}
    answer = httpx.post(f"{coordinator.url}/execute_task", json=body, timeout=150)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def statuses(coordinator: Coordinator, *ids: str) -> list[str]:
    return [httpx.get(f"{coordinator.url}/tasks/{id}", timeout=30).json()["status"] for id in ids]


def test_the_older_version_goes_on_with_every_task(box: Box) -> None:
    """Finished and open ones; workers of either version with either coordinator; and forward again."""
    new = box.coordinator(old=False)
    workers = {name: box.worker(name, new, old=name == "researcher") for name in WORKERS}
    serving(new)
    ended = [execute(new, context={"text": "x" * size})["task_id"] for size in (1, 20_000)]
    for worker in workers.values():
        worker.process.stop()
    begun = httpx.post(
        f"{new.url}/execute_task",
        json={"task_description": "What is a lease?", "timeout_seconds": 240, "context": {"text": "x" * 20_000}},
        headers={"Prefer": "respond-async"},
        timeout=30,
    )
    new.kill()
    opened = begun.json()["task_id"]

    downgrade(f"sqlite:///{box.journal}")
    old = box.coordinator(old=True)
    for name in WORKERS:
        box.worker(name, old, old=name != "reporter")
    assert httpx.get(f"{old.url}/health").json()["version"] == PREVIOUS.version
    serving(old)
    assert statuses(old, *ended) == ["completed", "completed"]
    wait_for(old, "The open task has ended", f"/tasks/{opened}", lambda task: task["finished_at"], seconds=250)
    later = execute(old)["task_id"]
    everything = (*ended, opened, later)
    kept = statuses(old, *everything)
    old.process.stop()

    again = box.coordinator(old=False)
    assert httpx.get(f"{again.url}/health").json()["version"] == VERSION
    assert statuses(again, *everything) == kept


def test_the_older_version_refuses_a_newer_journal(box: Box) -> None:
    """In a sentence, and without touching it: who forgets the downgrade loses nothing."""
    new = box.coordinator(old=False)
    new.process.stop()
    before = box.journal.read_bytes()

    with pytest.raises(AssertionError, match="newer Muster"):
        box.coordinator(old=True)

    assert box.journal.read_bytes() == before
