"""Tasks a second, and the time added to a task, next to a plain program that does the same without durability."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import aiohttp
import uvloop
from rich.console import Console
from rich.progress import Progress

from load import Figure, Stage, cpu_seconds, free_port, show, wait_for_agents
from load.noop_agent import ROLES

RATE = 20.0  # tasks a second while the added time is measured
DELAY_MS = 20  # of each agent meanwhile
WARM_SECONDS = 1.0
CALL_SECONDS = 30.0
TASK = {"task_description": "How do the tides work?", "timeout_seconds": CALL_SECONDS}
MEASURED, LOADING = 0, 1  # cores


@dataclass
class Candidate:
    """One server under test and what was seen of it."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    rates: list[float] = field(default_factory=list)  # tasks/s, one a round
    cpu_us: list[float] = field(default_factory=list)  # a task, one a round
    durations: list[float] = field(default_factory=list)  # seconds, at the limit
    added: list[float] = field(default_factory=list)  # seconds, at RATE
    failed: int = 0


def main() -> int:
    given = _arguments()
    with Stage() as stage:
        stage.pin(0, LOADING)
        agents = f"http://127.0.0.1:{free_port()}"
        plain, muster, memory = candidates = _started(stage, agents)
        uvloop.run(_measure(candidates, agents, given))
        notes = [
            f"Medians of {given.rounds} rounds of {given.seconds:g} s with {given.concurrency} tasks at once.",
            "Servers on one core, load and agents on another."
            if stage.pinned
            else "One core for everything: not pinned.",
            f"Load average at the end: {os.getloadavg()[0]:.1f} on {len(stage.cores)} cores.",
        ]
    return show("Tasks through one process", _figures(plain, muster, memory), notes, as_json=given.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.tasks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""\
Measures a coordinator against a plain FastAPI program (load/peers/plain.py) that makes the same three calls to the
same agents, which do nothing: with its journal in a file, as by default, and without (DATABASE_URL=memory:).

First --concurrency callers have one task each at any time. Then {RATE:g} tasks a second go to agents that take
{DELAY_MS} ms each; "added" is how much longer a task took for its caller than its three agents took together.
The servers take turns in every round, so that a slow moment of the machine hits all of them.

Loopback only. Needs about rounds x (3 x seconds + 2 x latency-seconds). Exit code 1: a target was missed.""",
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


def _started(stage: Stage, agents: str) -> list[Candidate]:
    """The plain program, Muster with a file, Muster without; agents registered and healthy."""
    commands: dict[str, tuple[str, Sequence[str], dict[str, str]]] = {
        "plain": ("load.peers.plain", ("--agents", agents), {}),
        "muster": ("coordinator", (), {"DATABASE_URL": f"sqlite:///{stage.folder}/muster.db"}),
        "muster without journal": ("coordinator", (), {"DATABASE_URL": "memory:"}),
    }
    candidates = []
    for name, (module, arguments, env) in commands.items():
        port = free_port()
        process = stage.start(module, "--port", str(port), *arguments, env=env, core=MEASURED)
        candidates.append(Candidate(name, f"http://127.0.0.1:{port}", process))
    for candidate in candidates:
        stage.wait(candidate.process, f"{candidate.url}/health")
    _, *coordinators = candidates
    where = [word for c in coordinators for word in ("--register", c.url)]
    process = stage.start("load.noop_agent", "--port", agents.rpartition(":")[2], *where, core=LOADING)
    stage.wait(process, f"{agents}/health")
    for coordinator in coordinators:
        wait_for_agents(coordinator.url, *ROLES)
    return candidates


async def _measure(candidates: Sequence[Candidate], agents: str, given: argparse.Namespace) -> None:
    turns = given.rounds * (len(candidates) + (2 if given.latency_seconds else 0))
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=2 * CALL_SECONDS)
    with Progress(console=Console(stderr=True), refresh_per_second=2, transient=True) as progress:
        bar = progress.add_task("", total=turns)

        def turn(what: str) -> None:
            progress.update(bar, description=what)

        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            for candidate in candidates:
                turn(f"{candidate.name}: warming up")
                await _full_load(session, candidate, given.concurrency, WARM_SECONDS)
            for n in range(1, given.rounds + 1):
                for candidate in candidates:
                    turn(f"round {n}: {candidate.name}, {given.concurrency} tasks at once")
                    await _round(session, candidate, given)
                    progress.advance(bar)
                for candidate in candidates[:2] if given.latency_seconds else ():
                    turn(f"round {n}: {candidate.name}, {RATE:g} tasks/s")
                    await session.put(f"{agents}/delay", data=str(DELAY_MS))
                    candidate.added += await _steady_load(session, candidate, given.latency_seconds)
                    await session.put(f"{agents}/delay", data="0")
                    progress.advance(bar)


async def _round(session: aiohttp.ClientSession, candidate: Candidate, given: argparse.Namespace) -> None:
    cpu, began = cpu_seconds(candidate.process.pid), time.perf_counter()
    durations = await _full_load(session, candidate, given.concurrency, given.seconds)
    elapsed = time.perf_counter() - began
    done = max(1, len(durations))
    candidate.rates.append(len(durations) / elapsed)
    candidate.cpu_us.append((cpu_seconds(candidate.process.pid) - cpu) / done * 1e6)
    candidate.durations += durations


async def _full_load(session: aiohttp.ClientSession, candidate: Candidate, callers: int, seconds: float) -> list[float]:
    """Seconds that each task took while `callers` callers had one each at any time."""
    until = time.perf_counter() + seconds
    durations: list[float] = []

    async def caller() -> None:
        while time.perf_counter() < until:
            taken = await _task(session, candidate)
            if taken is not None:
                durations.append(taken[0])

    async with asyncio.TaskGroup() as group:
        for n in range(callers):
            group.create_task(caller(), name=f"caller-{n}")
    return durations


async def _steady_load(session: aiohttp.ClientSession, candidate: Candidate, seconds: float) -> list[float]:
    """Seconds that each task took longer than its agents; tasks start at RATE, whatever becomes of those before."""
    chance = random.Random(1)
    added: list[float] = []

    async def one() -> None:
        taken = await _task(session, candidate)
        if taken is not None:
            added.append(taken[0] - taken[1])

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for n in range(int(seconds * RATE)):
            at = began + (n + chance.random()) / RATE
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            group.create_task(one(), name=f"task-{n}")
    return added


async def _task(session: aiohttp.ClientSession, candidate: Candidate) -> tuple[float, float] | None:
    """Seconds that one task took, and that its agents took of them; None, and counted, if it failed."""
    began = time.perf_counter()
    try:
        async with session.post(f"{candidate.url}/execute_task", json=TASK) as answer:
            body = await answer.json()
        taken = time.perf_counter() - began
        if answer.status == 200 and body["status"] == "completed" and len(body["results"]) == len(ROLES):
            return taken, sum(step["output"]["seconds"] for step in body["results"])
    except (aiohttp.ClientError, TimeoutError, KeyError, TypeError, ValueError):
        pass
    candidate.failed += 1
    return None


def _figures(plain: Candidate, muster: Candidate, memory: Candidate) -> list[Figure]:
    figures = []
    for candidate in (plain, muster, memory):
        durations = [seconds * 1000 for seconds in candidate.durations]
        figures += [
            Figure(f"{candidate.name}: tasks a second", median(candidate.rates), "/s"),
            Figure(f"{candidate.name}: CPU a task", median(candidate.cpu_us), "us"),
            Figure(f"{candidate.name}: p50 / task", _share(durations, 0.50), "ms"),
            Figure(f"{candidate.name}: p99 / task", _share(durations, 0.99), "ms"),
        ]
    figures += [
        Figure("muster / plain, tasks a second", _ratio(muster, plain), "x", target=3.0, at_least=True),
        Figure("muster / the same without journal", _ratio(muster, memory), "x", target=0.8, at_least=True),
        Figure("tasks that failed", float(plain.failed + muster.failed + memory.failed), "", target=0.0),
    ]
    if muster.added:
        ours, theirs = ([seconds * 1000 for seconds in c.added] for c in (muster, plain))
        figures += [
            Figure(f"added at {RATE:g} tasks/s, p50", _share(ours, 0.50), "ms", target=10.0),
            Figure(f"added at {RATE:g} tasks/s, p99", _share(ours, 0.99), "ms", target=40.0),
            Figure("the same of plain, p50", _share(theirs, 0.50), "ms"),
            Figure("the same of plain, p99", _share(theirs, 0.99), "ms"),
        ]
    return figures


def _ratio(ours: Candidate, theirs: Candidate) -> float:
    """Median of the rounds' ratios: what was measured side by side is compared."""
    return median(a / b if b else float("inf") for a, b in zip(ours.rates, theirs.rates, strict=True))


def _share(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))] if values else float("nan")


if __name__ == "__main__":
    sys.exit(main())
