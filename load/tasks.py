"""Tasks a second, and the time added to a task, next to a plain program that does the same without durability."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from statistics import median

import uvloop

from load.figures.figure import Figure
from load.figures.table import show
from load.peers.aims import CPU_OF_PLAIN, MEMORY, MUSTER, PLAIN, RATE_OF_MEMORY, RATE_OF_PLAIN
from load.peers.contenders import CONTENDERS
from load.peers.launch import print_failures, start
from load.peers.measurements import Measured, compute_ratio
from load.peers.rounds import DELAY_MS, RATE, measure
from load.processes.stage import Stage

NAMES = {PLAIN: "plain", MUSTER: "muster", MEMORY: "muster without journal"}


def main() -> int:
    given = _parse_arguments()
    contenders = sorted((c for c in CONTENDERS if c.name in NAMES), key=lambda c: list(NAMES).index(c.name))
    with Stage() as stage:
        all_, agents = start(stage, contenders, at_once=given.concurrency)
        uvloop.run(
            measure(all_, agents, rounds=given.rounds, seconds=given.seconds, latency_seconds=given.latency_seconds)
        )
        print_failures(stage, all_)
        notes = [
            f"Medians of {given.rounds} rounds of {given.seconds:g} s with {given.concurrency} tasks at once.",
            "Servers on one core, load and agents on another."
            if stage.pinned
            else "One core for everything: not pinned.",
            f"Load average at the end: {os.getloadavg()[0]:.1f} on {len(stage.cores)} cores.",
        ]
    return show("Tasks through one process", _list_figures(all_), notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.tasks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""\
Measures a coordinator against a plain FastAPI program (load/peers/plain) that makes the same three calls, two at once
and then one, to the same agents, which do nothing: with its journal in a file, as by default, and without
(DATABASE_URL=memory:). `python -m load.peers` does the same with many other programs.

In each round --concurrency callers have one task each at any time. Then {RATE:g} tasks a second go to agents that take
{DELAY_MS} ms each; "added" is how much longer a task took for its caller than its agents took together.
The servers take turns in every round, so that a slow moment of the machine hits all of them.

Loopback only. Needs about rounds x 3 x (seconds + latency-seconds). Exit code 1: a target was missed.""",
    )
    parser.add_argument("--concurrency", type=int, default=64, help="tasks at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of full load, a server (default: %(default)s)")
    parser.add_argument(
        "--latency-seconds",
        type=float,
        default=10.0,
        help=f"at {RATE:g} tasks/s, a server; 0 leaves it out (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


def _list_figures(all_: Sequence[Measured]) -> list[Figure]:
    plain, muster, memory = all_
    figures = []
    for each in all_:
        name = NAMES[each.name]
        figures += [
            Figure(f"{name}: tasks a second", median(each.rates), "/s"),
            Figure(f"{name}: CPU a task", median(each.cpu_us), "us"),
            Figure(f"{name}: p50 / task", each.compute_quantile(lambda of: of.durations, 0.50), "ms"),
            Figure(f"{name}: p99 / task", each.compute_quantile(lambda of: of.durations, 0.99), "ms"),
        ]
    rates = (muster.rates, plain.rates), (muster.rates, memory.rates)
    figures += [
        Figure("muster / plain, CPU a task", compute_ratio(muster.cpu_us, plain.cpu_us), "x", target=CPU_OF_PLAIN),
        Figure("muster / plain, tasks a second", compute_ratio(*rates[0]), "x", target=RATE_OF_PLAIN, at_least=True),
        Figure(
            "muster / the same without journal", compute_ratio(*rates[1]), "x", target=RATE_OF_MEMORY, at_least=True
        ),
        Figure("tasks that failed", float(sum(each.failed for each in all_)), "", target=0.0),
    ]
    for each in (muster, plain) if muster.added else ():
        for share, most in ((0.50, 10.0), (0.99, 40.0)):
            name = f"{NAMES[each.name]}: added at {RATE:g} tasks/s, p{share * 100:.0f}"
            value = each.compute_quantile(lambda of: of.added, share)
            figures.append(Figure(name, value, "ms", target=most if each is muster else None))
    return figures


if __name__ == "__main__":
    sys.exit(main())
