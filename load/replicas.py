"""What one slow replica of three costs callers: three suites side by side, of which two have the slow one."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field

from load.agents.noop import ROLES
from load.driving.calls import Sender, open_session
from load.driving.sending import Collected, DriveLimits, send_by_the_clock
from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.services import wait_for_agents
from load.processes.stage import Stage

USUAL_MS, SLOW_MS = 50, 2_000
WARM_SECONDS = 8.0  # in which all replicas are quick
MAX_RISE = 1.2
MAX_SHARE = 0.05


@dataclass
class Suite:
    """A coordinator with three researchers."""

    name: str
    url: str
    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    hedges: float = 0.0

    def compute_quantile(self, share: float) -> float:
        """Milliseconds a task, of those that were sent after the one replica had become slow."""
        taken = sorted(self.seconds)
        return 1_000 * taken[min(len(taken) - 1, int(share * len(taken)))]


def main() -> int:
    given = _parse_arguments()
    with Stage() as stage:
        quick = [_start_replica(stage) for _ in range(3)]
        slow = _start_replica(stage)
        suites = [
            _start_suite(stage, "all quick", quick, idempotent=True),
            _start_suite(stage, "one slow", [*quick[:2], slow], idempotent=True),
            _start_suite(stage, "one slow, one call a step", [*quick[:2], slow], idempotent=False),
        ]
        asyncio.run(_measure(suites, slow, rate=given.rate, seconds=given.seconds))
    healthy, hedged, single = suites
    sent = round(given.rate * (given.seconds + WARM_SECONDS))
    figures = [
        *(
            Figure(f"{suite.name}: p{share * 100:g} / task", suite.compute_quantile(share), "ms")
            for suite in suites
            for share in (0.5, 0.99, 1.0)
        ),
        Figure("p99, one slow : all quick", _compare(hedged, healthy), "x", target=MAX_RISE),
        Figure("p99, one slow with one call a step : all quick", _compare(single, healthy), "x"),
        Figure("second calls, one slow", hedged.hedges / sent, "of the calls", target=MAX_SHARE),
        Figure("second calls, all quick", healthy.hedges / (len(ROLES) * sent), "of the calls", target=MAX_SHARE),
        Figure("tasks that failed", float(sum(suite.failed for suite in suites)), "", target=0.0),
    ]
    notes = [
        f"{given.rate:g} tasks/s to each suite at the same time, for {given.seconds:g} s, after {WARM_SECONDS:g} s in"
        " which all were quick.",
        f"Each step takes {USUAL_MS} ms, at the slow researcher {SLOW_MS:,} ms more.",
    ]
    return show("One slow replica of three", figures, notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.replicas",
        description=f"""Starts three coordinators with three researchers each, whose steps take {USUAL_MS} ms. In two
        of them one researcher takes {SLOW_MS / 1000:g} s more from a moment on; in one of these no step may have a
        second call. Sends tasks to all three at once, and compares the slowest of a hundred. Ends what it started.
        Exit code 1: a target was missed.""",
    )
    parser.add_argument("--rate", type=float, default=20.0, help="tasks/s, a suite (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=40.0, help="that are measured (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


def _start_replica(stage: Stage) -> str:
    port = free_port()
    process = stage.start("load.noop_agent", "--port", str(port), "--delay-ms", str(USUAL_MS), core=1)
    stage.wait(process, f"http://127.0.0.1:{port}/health")
    return f"http://127.0.0.1:{port}"


def _start_suite(stage: Stage, name: str, replicas: Sequence[str], *, idempotent: bool) -> Suite:
    suite = Suite(name, f"http://127.0.0.1:{free_port()}")
    process = stage.start("coordinator", "--port", suite.url.rpartition(":")[2], env={"LOG_LEVEL": "WARNING"}, core=0)
    stage.wait(process, f"{suite.url}/ready")
    for role, capability in ROLES.items():
        for endpoint in replicas if role == "researcher" else replicas[:1]:
            body = {"name": role, "endpoint": endpoint, "capabilities": [capability], "idempotent": idempotent}
            _send("POST", f"{suite.url}/register_agent", json.dumps(body))
    wait_for_agents(suite.url, *ROLES)
    return suite


async def _measure(suites: Sequence[Suite], slow: str, *, rate: float, seconds: float) -> None:
    async with open_session() as session:
        senders = [Sender(session, suite.url, questions=["What is a lease?"], timeout_seconds=30) for suite in suites]
        for part in (WARM_SECONDS, seconds):
            starts = [n / rate for n in range(round(rate * part))]
            parts = [Collected() for _ in suites]
            async with asyncio.TaskGroup() as group:
                for sender, into in zip(senders, parts, strict=True):
                    group.create_task(send_by_the_clock(sender.send, starts, DriveLimits(len(starts)), into))
            await asyncio.to_thread(_send, "PUT", f"{slow}/delay", str(USUAL_MS + SLOW_MS))
        for suite, into in zip(suites, parts, strict=True):
            suite.seconds = [call.seconds for call in into.calls if call.ok]
            suite.failed = sum(not call.ok for call in into.calls)
            suite.hedges = await asyncio.to_thread(_count_hedges, suite.url)


def _compare(one: Suite, other: Suite) -> float:
    return one.compute_quantile(0.99) / other.compute_quantile(0.99)


def _count_hedges(url: str) -> float:
    lines = _send("GET", f"{url}/metrics", None).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("muster_hedges_total"))


def _send(method: str, url: str, body: str | None) -> str:
    data = None if body is None else body.encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


if __name__ == "__main__":
    sys.exit(main())
