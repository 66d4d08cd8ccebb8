"""Workers that are deaf or blocked, as processes of their own: taken out, ended, and back by themselves."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.processes import Coordinator, Service

pytestmark = pytest.mark.timeout(180)

WORKER = """
import asyncio
import pathlib
import re
import time

from shared.worker import Agent, Reply, serve_worker, steps, watchdog

watchdog.LATE_SECONDS = 0.5
execute = steps.Steps._execute


async def hang(self, *arguments):
    while pathlib.Path("deaf").exists():
        await asyncio.sleep(0.1)
    return await execute(self, *arguments)


async def run(step, ctx):
    if step.input == "sleep":
        time.sleep(3600)
    if step.input == "regex":
        re.match("(a+)+$", "a" * 60 + "b")
    return Reply("done")


steps.Steps._execute = hang
serve_worker(lambda state_dir: Agent(name="worker", description="Works.", capabilities=("work",), run=run))
"""
LONG = 90.0  # seconds, on a machine that is busy


class Worker(Service):
    """A worker; while the file `deaf` is in its folder, it begins no step, and its /health is green."""

    def __init__(self, folder: Path, **settings: object) -> None:
        folder.mkdir(parents=True)
        script = folder / "worker.py"
        script.write_text(WORKER)
        env = {"LOG_FORMAT": "json"} | {name.upper(): str(value) for name, value in settings.items()}
        super().__init__(str(script), folder, env=env)

    def told(self, event: str) -> dict[str, Any]:
        """The first log line of an event."""
        lines = [json.loads(line) for line in self.process.out.splitlines() if line.startswith("{")]
        return next(line for line in lines if line["event"] == event)

    def asks(self, input: str) -> None:
        """Sends it a step and does not wait for the answer."""
        step = {"task_id": "t1", "step_id": "s1", "attempt": 1, "input": input}
        with pytest.raises(httpx.TransportError), httpx.Client(timeout=1.0) as client:
            client.post(f"{self.url}/execute", json=step)


@contextmanager
def suite(folder: Path) -> Iterator[tuple[Coordinator, Worker]]:
    """A coordinator and one worker that it sees healthy."""
    with Coordinator(folder / "coordinator") as coordinator:
        coordinator.start().ready()
        with Worker(folder / "worker", coordinator_url=coordinator.url, watchdog_seconds=0) as worker:
            worker.start().ready()
            sees(coordinator, "healthy")
            yield coordinator, worker


def sees(coordinator: Coordinator, status: str, seconds: float = LONG) -> dict[str, Any]:
    """Waits until the coordinator sees the worker so; what `GET /agents` shows then, and after how many seconds."""
    began = time.monotonic()
    with httpx.Client(base_url=coordinator.url, timeout=5.0) as client:
        while time.monotonic() < began + seconds:
            found: list[dict[str, Any]] = client.get("/agents").json()["agents"]
            if [agent["status"] for agent in found] == [status]:
                return found[0] | {"after": time.monotonic() - began}
            time.sleep(0.05)
    raise AssertionError(f"not {status}: {found}")


def test_deaf_worker_is_out_until_it_hears(tmp_path: Path) -> None:
    """Its /health is green all the time."""
    with suite(tmp_path) as (coordinator, worker):
        deaf = tmp_path / "worker" / "deaf"
        deaf.touch()
        out = sees(coordinator, "unreachable")
        health = httpx.get(f"{worker.url}/health", timeout=5.0).status_code
        deaf.unlink()
        back = sees(coordinator, "healthy")
    print(f"out after {out['after']:.1f} s, back after {back['after']:.1f} s")

    assert health == 200
    assert "canaries in a row unanswered" in out["last_error"]
    assert "no answer within 4 s" in out["canary_error"]
    assert (back["last_error"], back["canary_error"]) == (None, None)


def test_deaf_worker_ends_itself(tmp_path: Path) -> None:
    """So whoever started it starts it again."""
    with Worker(tmp_path / "worker") as worker:
        (tmp_path / "worker" / "deaf").touch()
        worker.start().ready()

        assert worker.process.wait(LONG) == 1
        assert "no answer within 4 s" in worker.told("worker.deaf")["why"]


def test_blocked_worker_ends_itself(tmp_path: Path) -> None:
    """It names the step and the place."""
    with Worker(tmp_path / "worker", watchdog_seconds=2) as worker:
        worker.start().ready()
        worker.asks("sleep")

        assert worker.process.wait(LONG) == 1
        line = worker.told("worker.blocked")
        assert (line["steps"], line["level"]) == ("t1:s1", "error")
        assert line["at"].endswith(f"run (worker.py:{WORKER[: WORKER.index('time.sleep')].count(chr(10)) + 1})")


def test_code_that_holds_the_interpreter_ends_its_worker(tmp_path: Path) -> None:
    """No thread of Python's gets a word in: a regular expression that backtracks for years."""
    with Worker(tmp_path / "worker", watchdog_seconds=1) as worker:
        worker.start().ready()
        worker.asks("regex")

        assert worker.process.wait(LONG) == -signal.SIGPROF
        assert "in run" in worker.process.err


def test_stopped_worker_goes_on(tmp_path: Path) -> None:
    """Being stopped is not standing still: SIGSTOP for longer than the watchdog waits."""
    with Worker(tmp_path / "worker", watchdog_seconds=2) as worker:
        worker.start().ready()
        worker.process.tell(signal.SIGSTOP)
        time.sleep(6)
        worker.process.tell(signal.SIGCONT)
        time.sleep(2)
        step = {"task_id": "t1", "step_id": "s1", "attempt": 1}

        answer = httpx.post(f"{worker.url}/execute", json=step, timeout=30.0)
        assert (answer.json()["output"], worker.process.alive) == ("done", True)
