"""Ten times the load that a suite can carry: what is still completed, how refusals are, and what comes after."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import uvloop

from load.agents.noop import ROLES
from load.bare.client import Client
from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.programs import ROOT
from load.processes.services import wait_for_agents
from load.processes.stage import Stage
from load.processes.usage import read_thread_cpu_seconds

GOODPUT, REFUSAL_MS, AFTER = 0.8, 100.0, 0.98  # targets
QUESTION = "What happens to a running task when the coordinator is killed?"
MEASURED, LOADING = 0, 1  # cores
CALM_AT_ONCE = 4
SETTLE_SECONDS = 1.0  # at the beginning of a stretch, which do not count


@dataclass
class Stretch:
    """The answers of a stretch of time; times are seconds on the clock of `time.perf_counter`."""

    began: float = field(default_factory=time.perf_counter)
    completed: list[tuple[float, float]] = field(default_factory=list)  # when, and after how long
    refused: list[tuple[float, int]] = field(default_factory=list)  # after how long, and Retry-After
    failed: Counter[str] = field(default_factory=Counter)  # tasks that were accepted

    def count_completed(self, since: float, until: float) -> int:
        return sum(since <= when - self.began < until for when, _ in self.completed)


@dataclass
class Readings:
    """One value a round."""

    most: list[float] = field(default_factory=list)
    goodput: list[float] = field(default_factory=list)
    refusal_ms: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)
    crowd: list[float] = field(default_factory=list)
    retry_after: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    task_us: list[float] = field(default_factory=list)
    refusal_us: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


class Driver:
    """Sends one kind of task to one coordinator."""

    def __init__(self, http: Client, *, timeout_seconds: float) -> None:
        self._http = http
        self._timeout_seconds = timeout_seconds
        self._body = json.dumps({"task_description": QUESTION, "timeout_seconds": timeout_seconds}).encode()

    async def send(self, into: Stretch) -> None:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_seconds + 2):
                status, body = await self._http.request("POST", "/execute_task", self._body)
        except (OSError, TimeoutError) as exc:
            into.failed[type(exc).__name__] += 1
            return
        took, said = time.perf_counter() - began, json.loads(body)
        if status == 429:
            into.refused.append((took, int(said["retry_after_seconds"])))
        elif status == 200 and said["status"] == "completed":
            into.completed.append((began + took, took))
        else:
            into.failed[str(said.get("type") or said["status"]).rpartition(":")[2]] += 1

    async def keep_busy(self, callers: int, seconds: float) -> Stretch:
        """Keeps so many tasks under way."""
        stretch = Stretch()

        async def keep_calling() -> None:
            while time.perf_counter() - stretch.began < seconds:
                await self.send(stretch)

        async with asyncio.TaskGroup() as group:
            for n in range(callers):
                group.create_task(keep_calling(), name=f"caller-{n}")
        return stretch

    async def flood(self, rate: float, seconds: float) -> Stretch:
        """Sends so many tasks a second, whatever becomes of those before."""
        stretch = Stretch()
        async with asyncio.TaskGroup() as group:
            for n in range(int(rate * seconds)):
                if (ahead := stretch.began + n / rate - time.perf_counter()) > 0.002:
                    await asyncio.sleep(ahead)
                group.create_task(self.send(stretch), name=f"task-{n}")
        return stretch


def main() -> int:
    given = _parse_arguments()
    readings = Readings()
    with Stage() as stage:
        url, pid = _start(stage, given)
        stage.pin(0, LOADING)
        uvloop.run(_measure(url, pid, given, readings))
        notes = [
            f"Medians of {given.rounds} rounds of {given.seconds:g} s; agents: {given.agents}; tasks have "
            f"{given.timeout:g} s. CPU is the coordinator's.",
            "The coordinator on one core, load and agents on another." if stage.pinned else "One core: not pinned.",
            f"Load average at the end: {os.getloadavg()[0]:.1f} on {len(stage.cores)} cores.",
        ]
    if readings.reasons:
        notes.append("Accepted, and not completed: " + ", ".join(f"{n} {why}" for why, n in readings.reasons.items()))
    return show("Ten times the load", _list_figures(readings, given.times), notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.overload",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Measures in each round: the most that the suite completes with --at-once tasks under way; what it completes while
--times as many tasks come in, by the clock; and, right after, whether it serves a few callers as it did before.

Goodput is what is completed within its own time, as a share of the most. Nobody that is refused comes back: that
is the hardest case, because nothing eases the load.""",
    )
    add = parser.add_argument
    add("--agents", choices=("real", "noop"), default="real", help="Muster's workers, or some that do nothing")
    add("--delay-ms", type=float, default=0.0, help="that a step takes with --agents noop (default: %(default)g)")
    add("--times", type=float, default=10.0, help="the most (default: %(default)g)")
    add("--at-once", type=int, default=64, help="tasks while the most is measured (default: %(default)s)")
    add("--seconds", type=float, default=6.0, help="of each stretch (default: %(default)g)")
    add("--timeout", type=float, default=5.0, help="seconds that a task has (default: %(default)g)")
    add("--queued", type=int, default=1_000, help="MAX_QUEUED_TASKS (default: %(default)s)")
    add("--rounds", type=int, default=3, help="(default: %(default)s)")
    add("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


def _start(stage: Stage, given: argparse.Namespace) -> tuple[str, int]:
    """Starts the suite; returns the coordinator's URL and process id."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {"DATABASE_URL": f"sqlite:///{stage.folder}/muster.db", "MAX_QUEUED_TASKS": str(given.queued)}
    coordinator = stage.start("coordinator", "--port", str(port), env=env, core=MEASURED)
    stage.wait(coordinator, f"{url}/ready")
    if given.agents == "noop":
        more = ("--delay-ms", str(given.delay_ms), "--register", url)
        stage.start("load.noop_agent", "--port", str(free_port()), *more, core=LOADING)
    else:
        for name in ROLES:
            env = {"COORDINATOR_URL": url, "KNOWLEDGE_DIR": str(ROOT / "docs"), "STATE_DIR": str(stage.folder / name)}
            stage.start(f"workers.{name}", "--port", str(free_port()), env=env, core=LOADING)
    wait_for_agents(url, *ROLES)
    return url, coordinator.pid


async def _measure(url: str, pid: int, given: argparse.Namespace, readings: Readings) -> None:
    async with Client(url.removeprefix("http://")) as http:
        driver = Driver(http, timeout_seconds=given.timeout)
        await driver.keep_busy(CALM_AT_ONCE, SETTLE_SECONDS)
        for _ in range(given.rounds):
            await _measure_round(driver, pid, given, readings)


async def _measure_round(driver: Driver, pid: int, given: argparse.Namespace, readings: Readings) -> None:
    seconds = given.seconds
    calm = await driver.keep_busy(CALM_AT_ONCE, 1.0)
    before = read_thread_cpu_seconds(pid)
    busy = await driver.keep_busy(given.at_once, seconds)
    task = (read_thread_cpu_seconds(pid) - before) / max(1, len(busy.completed))
    most = busy.count_completed(SETTLE_SECONDS, seconds) / (seconds - SETTLE_SECONDS)
    readings.most.append(most)
    readings.task_us.append(1e6 * task)

    before = read_thread_cpu_seconds(pid)
    flood = await driver.flood(given.times * most, seconds)
    spent = read_thread_cpu_seconds(pid) - before
    after = await driver.keep_busy(CALM_AT_ONCE, 2.0)

    readings.goodput.append(flood.count_completed(SETTLE_SECONDS, seconds) / (seconds - SETTLE_SECONDS) / most)
    readings.refused.append(len(flood.refused))
    readings.failed.append(flood.failed.total())
    readings.reasons += flood.failed
    readings.refusal_ms.append(1000 * _compute_quantile([took for took, _ in flood.refused], 0.99))
    told = Counter(seconds for _, seconds in flood.refused)
    readings.retry_after.append(max(told, default=0))
    readings.crowd.append(max(told.values(), default=0) / max(1, told.total()))
    carried = task * (len(flood.completed) + flood.failed.total())
    readings.refusal_us.append(1e6 * max(0.0, spent - carried) / max(1, len(flood.refused)))
    readings.after.append(
        len(after.completed) / max(1, len(after.completed) + len(after.refused) + after.failed.total())
    )
    then, now = (median([took for _, took in one.completed] or [given.timeout]) for one in (calm, after))
    readings.latency.append(now / then)


def _list_figures(found: Readings, times: float) -> Sequence[Figure]:
    return [
        Figure("the most, tasks a second", median(found.most), "/s"),
        Figure(f"goodput at {times:g}x", median(found.goodput), "x", target=GOODPUT, at_least=True),
        Figure("refused, a round", median(found.refused), ""),
        Figure("a refusal, p99", median(found.refusal_ms), "ms", target=REFUSAL_MS),
        Figure("accepted, and not completed, a round", median(found.failed), ""),
        Figure("Retry-After, longest", median(found.retry_after), "s"),
        Figure("refused callers told the same second, most", 100 * median(found.crowd), "%"),
        Figure("CPU a task", median(found.task_us), "us"),
        Figure("CPU a refusal", median(found.refusal_us), "us"),
        Figure("completed right after", median(found.after), "x", target=AFTER, at_least=True),
        Figure("p50 right after / before", median(found.latency), "x"),
    ]


def _compute_quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


if __name__ == "__main__":
    sys.exit(main())
