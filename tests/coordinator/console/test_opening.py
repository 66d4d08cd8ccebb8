"""The last line of a start: which address to open, once a task could run."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.console.opening import name_localhost
from tests.support.fakes import eventually
from tests.support.processes import Coordinator, Service

WORKERS = ("researcher", "analyzer", "reporter")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8000", "http://localhost:8000"),
        ("http://0.0.0.0:9000", "http://localhost:9000"),
        ("http://[::1]:8000", "http://localhost:8000"),
        ("http://192.0.2.7:8000", "http://192.0.2.7:8000"),
        ("https://muster.example/team", "https://muster.example/team"),
    ],
)
def test_this_machine_is_called_localhost(url: str, shown: str) -> None:
    assert shown == name_localhost(url)


async def test_the_log_says_what_to_open_after_the_agents(tmp_path: Path) -> None:
    """Where nothing says another address, the one that is listened at."""
    with Coordinator(tmp_path / "c", log_level="INFO") as coordinator:
        coordinator.start()
        services = [worker(name, tmp_path / name, coordinator.url) for name in WORKERS]
        try:
            for service in services:
                service.start()
            said = await eventually(lambda: opened(coordinator), seconds=60)
        finally:
            for service in services:
                service.__exit__()

    assert said.count("Open http") == 1
    before, _, _ = said.partition(f"Open http://localhost:{coordinator.port}")
    assert before.count('"status": "healthy"') == len(WORKERS)


def worker(name: str, folder: Path, url: str) -> Service:
    return Service(f"workers.{name}", folder, env={"COORDINATOR_URL": url, "KNOWLEDGE_DIR": str(folder)})


def opened(coordinator: Coordinator) -> str:
    """What the coordinator has said, once it says what to open."""
    said = coordinator.process.out + coordinator.process.err
    return said if "Open http" in said else ""
