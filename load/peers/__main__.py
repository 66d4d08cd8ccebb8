"""`python -m load.peers`: Muster beside what people would use instead, and beside the limits, as a page."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import uvloop

from load.figures.table import show
from load.peers import report
from load.peers.aims import list_figures
from load.peers.contenders import CONTENDERS
from load.peers.launch import choose_able, print_failures, start
from load.peers.limits.disk import measure_syncs
from load.peers.rounds import DELAY_MS, RATE, measure
from load.processes.programs import ROOT
from load.processes.stage import Stage

DISK_SECONDS = 1.0


def main() -> int:
    given = _parse_arguments()
    wanted = [c for c in CONTENDERS if given.only is None or c.name in given.only]
    contenders, notes = choose_able(wanted)
    began, load_before = time.monotonic(), os.getloadavg()[0]
    with Stage() as stage:
        all_, agents = start(stage, contenders, at_once=given.concurrency)
        syncs = measure_syncs(stage.folder, DISK_SECONDS)
        uvloop.run(
            measure(all_, agents, rounds=given.rounds, seconds=given.seconds, latency_seconds=given.latency_seconds)
        )
        print_failures(stage, all_)
        run = report.MeasuredRun(
            rounds=given.rounds,
            seconds=given.seconds,
            latency_seconds=given.latency_seconds,
            at_once=given.concurrency,
            pinned=stage.pinned,
            cores=len(stage.cores),
            syncs=syncs,
            load_before=load_before,
            minutes=(time.monotonic() - began) / 60,
            notes=notes,
        )
    aims = list_figures(all_)
    if given.only is None:
        report.write(given.out, all_, aims, run)
    else:
        print(report.build_table(all_))
    return show("Side by side", aims, [*run.list_sentences(), *notes], as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    names = ", ".join(contender.name for contender in CONTENDERS)
    parser = argparse.ArgumentParser(
        prog="python -m load.peers",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""\
The same job done by Muster, by what people would use instead, and by what cannot be undercut: a task over HTTP, three
agents that do nothing, two at once and then one, an answer. Each peer is written as its documentation recommends, runs
in a venv of its own (build/peers, made when missing) and has all its processes on one core; load and agents have
another. All take turns in every round, so that a slow moment of the machine hits all of them.

In each round --concurrency callers have one task each at any time for --seconds; then {RATE:g} tasks a second go to
agents that take {DELAY_MS} ms, for --latency-seconds. Writes RESULTS.md and results.svg into --out.

Who takes part: {names}.
Celery, Taskiq and Dramatiq need redis-server on the PATH, Restate needs npm; peers without these are left out.
Loopback only. Exit code 1: an aim was missed.""",
    )
    parser.add_argument("--concurrency", type=int, default=64, help="tasks at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of full load, each (default: %(default)s)")
    parser.add_argument(
        "--latency-seconds", type=float, default=3.0, help=f"at {RATE:g} tasks/s, each; 0: none (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="NAME", help="take only this one; writes nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "load", metavar="FOLDER", help="(default: load/)")
    parser.add_argument("--json", action="store_true", help="print the aims as one JSON object instead of a table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
