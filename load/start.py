"""How long the command line and the services take from nothing: to their help, to ready, to the first task."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict

from rich.console import Console
from rich.progress import track

from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.programs import ROOT
from load.processes.services import fetch_json, wait_for_agents
from load.processes.stage import Stage
from load.processes.usage import read_cpu_seconds, read_pss_megabytes

WORKERS = ("researcher", "analyzer", "reporter")
QUESTION = "What happens to a running task when the coordinator is killed?"
MAX_COMMAND_SECONDS, MAX_ASK_SECONDS, MAX_READY_SECONDS, MAX_MEGABYTES = 0.25, 0.3, 0.8, 260.0
SETTLE_SECONDS = 1.0  # the index of the folder, and what is loaded once the service is ready

Readings = dict[str, list[float]]  # of each figure, one a round; seconds or MB

HELP, LIST, ASK = "--help", "tasks", "ask, beyond its task"
ALONE, TOGETHER = "coordinator ready", "all four at once, each healthy"
FIRST, SECOND = "first task", "second task"
IDLE, WORKED = "memory of all four (PSS)", "  after two tasks"
CPU = {name: f"  {short}, processor time" for name, short in ((HELP, HELP), (LIST, LIST), (ASK, "ask"))}
CPU[TOGETHER] = "  all four, processor time"


def main() -> int:
    given = _parse_arguments()
    values: Readings = defaultdict(list)
    for number in track(range(given.rounds + 1), "rounds", console=Console(stderr=True), transient=True):
        with Stage() as stage:
            measured = _measure_round(stage)
        if number:  # the first fills the caches, of files and of bytecode
            for name, value in measured.items():
                values[name].append(value)
    targets = {
        HELP: MAX_COMMAND_SECONDS,
        LIST: MAX_COMMAND_SECONDS,
        ASK: MAX_ASK_SECONDS,
        ALONE: MAX_READY_SECONDS,
        TOGETHER: MAX_READY_SECONDS,
    }
    targets[IDLE] = MAX_MEGABYTES
    figures = [
        Figure(name, statistics.median(found), "MB" if name in (IDLE, WORKED) else "s", target=targets.get(name))
        for name, found in values.items()
    ]
    spread = "; ".join(f"{name} {min(values[name]):.3g} to {max(values[name]):.3g}" for name in targets)
    notes = [f"Medians of {given.rounds} rounds, after one that does not count. Least and most: {spread}."]
    return show("From nothing", figures, notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.start",
        description="""Runs `coordinator.cli --help`; starts a coordinator alone; starts coordinator and workers at
        once, asks them the same question twice over HTTP, lists their tasks by `coordinator.cli tasks`, and asks once
        more by `coordinator.cli ask`. Times count from the
        start of the process, the interpreter included; processor time is that of the processes only, and steadier
        on a machine that others use. MB are 10^6 bytes, shared pages counted once. Linux only. Ends what it started.
        Exit code 1: a target was missed.""",
    )
    parser.add_argument("--rounds", type=int, default=5, help="that count (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


def _measure_round(stage: Stage) -> dict[str, float]:
    found: dict[str, float] = {}
    found[HELP], found[CPU[HELP]] = _time_command("--help")
    found[ALONE] = _time_coordinator(stage)

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    began = time.monotonic()
    journal = {"DATABASE_URL": f"sqlite:///{stage.folder}/muster.db"}
    processes = [stage.start("coordinator", "--port", str(port), env=journal)]
    for name in WORKERS:
        env = {"COORDINATOR_URL": url, "KNOWLEDGE_DIR": str(ROOT / "docs"), "STATE_DIR": str(stage.folder / name)}
        processes.append(stage.start(f"workers.{name}", "--port", str(free_port()), env=env))
    stage.wait(processes[0], f"{url}/ready")
    wait_for_agents(url, *WORKERS)
    found[TOGETHER] = time.monotonic() - began
    found[CPU[TOGETHER]] = sum(read_cpu_seconds(process.pid) for process in processes)

    time.sleep(SETTLE_SECONDS)
    found[IDLE] = sum(read_pss_megabytes(process.pid) for process in processes)
    found[FIRST], found[SECOND] = _time_task(url), _time_task(url)
    found[WORKED] = sum(read_pss_megabytes(process.pid) for process in processes)

    found[LIST], found[CPU[LIST]] = _time_command("tasks", "--url", url)
    seconds, found[CPU[ASK]] = _time_command("ask", "--url", url, QUESTION)
    (task,) = fetch_json(f"{url}/tasks?limit=1")["tasks"]
    found[ASK] = seconds - task["duration_seconds"]
    return found


def _time_coordinator(stage: Stage) -> float:
    """Returns the seconds until a coordinator that starts alone is ready."""
    port = free_port()
    began = time.monotonic()
    process = stage.start("coordinator", "--port", str(port), env={"DATABASE_URL": "memory:"})
    stage.wait(process, f"http://127.0.0.1:{port}/ready")
    seconds = time.monotonic() - began
    stage.end(process)
    return seconds


def _time_command(*arguments: str) -> tuple[float, float]:
    """Runs one command; returns its seconds and its seconds of processor time; raises `RuntimeError` when it fails."""
    began, before = time.monotonic(), os.times()
    done = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ.get("PATH", "")},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, after = time.monotonic() - began, os.times()
    if done.returncode:
        raise RuntimeError(f"{arguments}: exit code {done.returncode}. {done.stderr}")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, spent


def _time_task(url: str) -> float:
    """Sends one task and returns the seconds until its answer."""
    body = json.dumps({"task_description": QUESTION}).encode()
    request = urllib.request.Request(f"{url}/execute_task", body, {"content-type": "application/json"})
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
