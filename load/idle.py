"""What the whole suite needs while it has nothing to do: memory, and processor time."""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console
from rich.progress import track

from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.programs import ROOT
from load.processes.services import wait_for_agents
from load.processes.stage import Stage
from load.processes.usage import read_cpu_seconds, read_pss_megabytes

WORKERS = ("researcher", "analyzer", "reporter")
SETTLE_SECONDS = 3.0  # indexing and first probes are no idling
MAX_MEGABYTES = 260.0
MAX_PERCENT = 1.0  # of one core


def main() -> int:
    given = _parse_arguments()
    with Stage() as stage:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        coordinator = stage.start(
            "coordinator", "--port", str(port), env={"DATABASE_URL": f"sqlite:///{stage.folder}/muster.db"}
        )
        processes = {"coordinator": coordinator}
        env = {"COORDINATOR_URL": url, "KNOWLEDGE_DIR": str(ROOT / "docs")}
        for name in WORKERS:
            state = {"STATE_DIR": str(stage.folder / name)}
            processes[name] = stage.start(f"workers.{name}", "--port", str(free_port()), env=env | state)
        stage.wait(coordinator, f"{url}/ready")
        wait_for_agents(url, *WORKERS)
        _sleep(SETTLE_SECONDS, "settling")
        before = {name: read_cpu_seconds(process.pid) for name, process in processes.items()}
        began = time.monotonic()
        _sleep(given.seconds, "measuring")
        elapsed = time.monotonic() - began
        percent = {n: (read_cpu_seconds(p.pid) - before[n]) / elapsed * 100 for n, p in processes.items()}
        memory = {name: read_pss_megabytes(process.pid) for name, process in processes.items()}
    figures = [
        Figure("memory of all four (PSS)", sum(memory.values()), "MB", target=MAX_MEGABYTES),
        *(Figure(f"  {name}", value, "MB") for name, value in memory.items()),
        Figure("processor time of all four", sum(percent.values()), "% of a core", target=MAX_PERCENT),
        *(Figure(f"  {name}", value, "% of a core") for name, value in percent.items()),
    ]
    notes = [f"Over {elapsed:.0f} s, after the agents were registered and {SETTLE_SECONDS:g} s more."]
    return show("The suite at rest", figures, notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.idle",
        description="""Starts the coordinator and the three workers with default settings, waits until all are
        registered, and measures what they use while idle. MB are 10^6 bytes; pages that processes
        share count once. Linux only. Ends what it started. Exit code 1: a target was missed.""",
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="to measure for (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


def _sleep(seconds: float, what: str) -> None:
    steps = max(1, round(seconds))
    for _ in track(range(steps), description=what, console=Console(stderr=True), transient=True):
        time.sleep(seconds / steps)


if __name__ == "__main__":
    sys.exit(main())
