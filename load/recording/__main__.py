"""What recording adds to a task's processor time: two suites side by side, RECORD off and on, asked in turn."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from statistics import median

from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.programs import ROOT
from load.processes.services import fetch_json, wait_for_agents
from load.processes.stage import Stage
from load.processes.usage import read_thread_cpu_seconds

WORKERS = ("researcher", "analyzer", "reporter")
MOST = 1.05  # times the processor time of a task that is not recorded
WARM_UP = 10  # tasks of each suite, before anything is measured
QUESTIONS = (
    "What happens to a running task when the coordinator is killed?",
    "How long does a worker hold a lease?",
    "Which agents may have private addresses?",
    "What is in a backup of the journal?",
)


@dataclass
class Suite:
    """One suite, and what its tasks took in each round: seconds of the coordinator, and of all four processes."""

    url: str
    processes: dict[str, subprocess.Popen[bytes]]
    coordinator: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)

    def ask(self, number: int) -> str:
        """One task, to its end; its id."""
        body = json.dumps({"task_description": QUESTIONS[number % len(QUESTIONS)]}).encode()
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/execute_task", body, headers)) as answer:
            task: dict[str, str] = json.load(answer)
        return task["task_id"]

    def measure(self, tasks: int) -> None:
        before = self._read()
        for number in range(tasks):
            task = self.ask(number)
        spent = {name: seconds - before[name] for name, seconds in self._read().items()}
        self.coordinator.append(spent["coordinator"] / tasks)
        self.whole.append(sum(spent.values()) / tasks)
        if fetch_json(f"{self.url}/tasks/{task}")["status"] != "completed":
            sys.exit(f"Task {task} did not complete.")

    def _read(self) -> dict[str, float]:
        return {name: read_thread_cpu_seconds(process.pid) for name, process in self.processes.items()}


def main() -> int:
    given = _parse_arguments()
    with Stage() as stage:
        off, on = (_start(stage, name) for name in ("off", "on"))
        for suite in (off, on):
            for number in range(WARM_UP):
                suite.ask(number)
        began = time.monotonic()
        for round in range(given.rounds):
            for suite in (off, on) if round % 2 else (on, off):
                suite.measure(given.tasks)
        elapsed = time.monotonic() - began
        size = len(json.dumps(fetch_json(f"{on.url}/tasks/{on.ask(0)}/recording")))
    figures = [
        Figure("recorded / not, the whole suite's CPU a task", _compare(on.whole, off.whole), "x", target=MOST),
        Figure("recorded / not, the coordinator's CPU a task", _compare(on.coordinator, off.coordinator), "x"),
        Figure("the whole suite, not recorded", median(off.whole) * 1e3, "ms"),
        Figure("the whole suite, recorded", median(on.whole) * 1e3, "ms"),
        Figure("the coordinator, not recorded", median(off.coordinator) * 1e3, "ms"),
        Figure("the coordinator, recorded", median(on.coordinator) * 1e3, "ms"),
        Figure("size of one recording, as JSON", size / 1e3, "KB"),
    ]
    notes = [f"Medians of {given.rounds} rounds of {given.tasks} default tasks, one after the other; {elapsed:.0f} s."]
    return show("Recording tasks", figures, notes, as_json=given.json)


def _start(stage: Stage, name: str) -> Suite:
    """A suite with default settings, but for RECORD, that searches in the documentation."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {"DATABASE_URL": f"sqlite:///{stage.folder}/{name}.db", "RECORD": name}
    processes = {"coordinator": stage.start("coordinator", "--port", str(port), env=env)}
    for worker in WORKERS:
        own = {
            "COORDINATOR_URL": url,
            "KNOWLEDGE_DIR": str(ROOT / "docs"),
            "STATE_DIR": str(stage.folder / f"{name}-{worker}"),
        }
        processes[worker] = stage.start(f"workers.{worker}", "--port", str(free_port()), env=own)
    stage.wait(processes["coordinator"], f"{url}/ready")
    wait_for_agents(url, *WORKERS)
    return Suite(url, processes)


def _compare(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios of each round, in which both were measured side by side."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.recording",
        description="""Starts two suites with default settings, one of them with RECORD=on, asks both in turn, and
        compares the processor time that a task takes. Linux only. Ends what it started. Exit code 1: a target was
        missed.""",
    )
    parser.add_argument("--rounds", type=int, default=10, help="of both suites (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=20, help="of each suite in a round (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
