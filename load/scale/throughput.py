"""Tasks a second on PostgreSQL, next to a file, next to DBOS on the same PostgreSQL, and with two coordinators."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import uvloop

from load.bare.client import Client
from load.figures.figure import Figure
from load.figures.table import show
from load.peers.launch import print_failures
from load.peers.limits.disk import measure_syncs
from load.peers.measurements import Measured, compute_ratio
from load.peers.rounds import run_full_load
from load.processes.caps import cap
from load.processes.postgres import Server, serve
from load.processes.stage import Stage
from load.processes.usage import read_family_cpu_seconds
from load.scale.subjects import DBOS, DBOS_TUNED, FILE, LIMITED, LIMITED_TWO, ONE, TWO, list_urls, start

CORES = 0.4  # of each capped coordinator
OF_FILE, OF_DBOS, OF_ONE = 0.5, 3.0, 1.6  # the aims
SLOW_MICROSECONDS = 2_000
WARM_SECONDS, WARM_AT_ONCE = 1.5, 8
SLOW = " on a slow disk"
NAMES = (FILE, ONE, DBOS, DBOS_TUNED, TWO, LIMITED, LIMITED_TWO)
ON_SLOW = (ONE, DBOS_TUNED)


@dataclass
class Turns:
    """What was measured of one subject in one kind of turn, an entry a round."""

    rates: list[float] = field(default_factory=list)  # tasks/s
    own_us: list[float] = field(default_factory=list)  # processor time a task, of the subject's processes
    server_us: list[float] = field(default_factory=list)  # … of PostgreSQL's
    durations: list[float] = field(default_factory=list)  # seconds, of each task
    lone: list[float] = field(default_factory=list)  # seconds, of each task that was alone


def main() -> int:
    given = _parse_arguments()
    with ExitStack() as stack:
        names, groups, notes = [name for name in NAMES if given.only is None or name in given.only], {}, []
        try:
            groups = {
                name: [stack.enter_context(cap(f"{name.replace(' ', '-')}-{n}", CORES)) for n in range(count)]
                for name, count in ((LIMITED, 1), (LIMITED_TWO, 2))
                if name in names
            }
        except OSError as exc:
            names = [name for name in names if name not in (LIMITED, LIMITED_TWO)]
            notes.append(f"Nothing was capped: {exc}.")
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-postgres-"))
        server = stack.enter_context(serve(Path(folder), "max_connections=200", *given.option))
        stage = stack.enter_context(Stage())
        syncs = measure_syncs(Path(folder), 0.5)
        all_, _ = start(stage, server, groups, at_once=given.concurrency, names=names)
        turns = uvloop.run(
            _measure(all_, server, rounds=given.rounds, seconds=given.seconds, alone_seconds=given.alone_seconds)
        )
        print_failures(stage, list(all_.values()))
    notes += [
        f"Medians of {given.rounds} rounds of {given.seconds:g} s with {given.concurrency} tasks at once; nothing is "
        f"pinned: coordinators, PostgreSQL, agents and the callers share {len(stage.cores)} cores.",
        f"The disk took {syncs:,.0f} times a second 4 KB with fdatasync. The slow one: PostgreSQL waits "
        f"{SLOW_MICROSECONDS / 1000:g} ms more before each flush of its log (commit_delay, commit_siblings = 0).",
        f"Load average at the end: {os.getloadavg()[0]:.1f}.",
    ]
    return show(
        "Tasks on PostgreSQL",
        list_figures(turns, failed=sum(each.failed for each in all_.values())),
        notes,
        as_json=given.json,
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.scale.throughput",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""\
Starts a PostgreSQL of its own and measures, in turns, callers that have --concurrency tasks of three steps at once,
whose agents do nothing: a coordinator with its journal in a file; one on PostgreSQL; DBOS (load/peers/dbos) on the same
PostgreSQL, as it comes and tuned; two coordinators here; one and two that have {CORES:g} of a core each (a control
group; needs root). Then one coordinator and the tuned DBOS while PostgreSQL's disk is slow, and one caller alone.

Loopback only. Needs about rounds x (9 x seconds + 2 x alone-seconds). Exit code 1: a target was missed.""",
    )
    parser.add_argument("--concurrency", type=int, default=64, help="tasks at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn (default: %(default)s)")
    parser.add_argument("--alone-seconds", type=float, default=2.0, help="of one caller alone (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--only", action="append", choices=NAMES, help="take only this one; may be repeated")
    parser.add_argument("--option", action="append", default=[], help="of PostgreSQL, as work_mem=64MB")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


async def _measure(
    all_: dict[str, Measured], server: Server, *, rounds: int, seconds: float, alone_seconds: float
) -> dict[str, Turns]:
    turns = {name: Turns() for name in (*all_, *(f"{name}{SLOW}" for name in ON_SLOW if name in all_))}
    for each in all_.values():
        await _drive(each, WARM_AT_ONCE, WARM_SECONDS)
    for _ in range(rounds):
        for name, each in all_.items():
            await _take_turn(each, server, turns[name], seconds)
        _slow_down(server, SLOW_MICROSECONDS)
        for name in ON_SLOW:
            if name in all_:
                await _take_turn(all_[name], server, turns[f"{name}{SLOW}"], seconds)
        _slow_down(server, 0)
        for name in (FILE, ONE):
            if name in all_ and alone_seconds:
                turns[name].lone += await _drive(all_[name], 1, alone_seconds)
    return turns


async def _take_turn(each: Measured, server: Server, into: Turns, seconds: float) -> None:
    own, shared, began = each.read_cpu_seconds(), read_family_cpu_seconds(server.pid), time.perf_counter()
    durations = await _drive(each, each.at_once, seconds)
    elapsed, count = time.perf_counter() - began, max(1, len(durations))
    into.rates.append(len(durations) / elapsed)
    into.own_us.append((each.read_cpu_seconds() - own) / count * 1e6)
    into.server_us.append((read_family_cpu_seconds(server.pid) - shared) / count * 1e6)
    into.durations += durations


async def _drive(each: Measured, callers: int, seconds: float) -> list[float]:
    """Lets the callers have a task each at any time, divided between its processes; the seconds of each task."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(url.removeprefix("http://"))) for url in list_urls(each)]
        if callers < len(clients):
            return await run_full_load(clients[0], each, callers, seconds)
        loads = (run_full_load(client, each, callers // len(clients), seconds) for client in clients)
        return [taken for done in await asyncio.gather(*loads) for taken in done]


def _slow_down(server: Server, microseconds: int) -> None:
    server.run_sql("postgres", f"ALTER SYSTEM SET commit_delay = {microseconds}")
    server.run_sql("postgres", "ALTER SYSTEM SET commit_siblings = 0")
    server.run_sql("postgres", "SELECT pg_reload_conf()")


def list_figures(turns: dict[str, Turns], *, failed: int) -> list[Figure]:
    """What each subject did, and the ratios of those measured side by side."""
    figures = []
    for name, of in turns.items():
        figures.append(Figure(f"{name}: tasks a second", median(of.rates), "/s"))
        for whose, spent in (("CPU", of.own_us), ("PostgreSQL's CPU", of.server_us)):
            if spent:
                figures.append(Figure(f"{name}: {whose} a task", median(spent), "us"))
        if of.lone:
            alone = sorted(of.lone)
            figures += [
                Figure(f"{name}: alone, p{share * 100:.0f}", 1000 * alone[int(share * (len(alone) - 1))], "ms")
                for share in (0.5, 0.99)
            ]
    aims = (
        (ONE, FILE, OF_FILE),
        (ONE, DBOS, OF_DBOS),
        (ONE, DBOS_TUNED, OF_DBOS),
        (LIMITED_TWO, LIMITED, OF_ONE),
        (TWO, ONE, None),
        (f"{ONE}{SLOW}", ONE, None),
        (f"{DBOS_TUNED}{SLOW}", DBOS_TUNED, None),
    )
    for ours, theirs, target in aims:
        if ours in turns and theirs in turns:
            ratio = compute_ratio(turns[ours].rates, turns[theirs].rates)
            figures.append(Figure(f"{ours} / {theirs}", ratio, "x", target=target, at_least=True))
    for theirs in (DBOS, DBOS_TUNED):
        if ONE in turns and theirs in turns:
            ratio = compute_ratio(_add(turns[theirs]), _add(turns[ONE]))
            figures.append(Figure(f"CPU a task with PostgreSQL's: {theirs} / {ONE}", ratio, "x"))
    return [*figures, Figure("tasks that failed", float(failed), "", target=0.0)]


def _add(of: Turns) -> list[float]:
    """Processor time a task, of the subject and of PostgreSQL."""
    return [own + server for own, server in zip(of.own_us, of.server_us, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
