"""The suite in containers: how soon it answers, what it costs at rest, its speed, and how soon a crash is over."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

import aiohttp
import uvloop
from rich.console import Console

from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.programs import ROOT
from load.processes.services import wait_for_agents
from load.processes.stage import Stage

SERVICES = ("coordinator", "researcher", "analyzer", "reporter")
QUESTION = {"task_description": "How does Muster survive a crash?", "timeout_seconds": 60}
UP_SECONDS = 10.0
AGAIN_SECONDS = 8.0
IDLE_PERCENT = 1.0
IDLE_SECONDS = 185.0  # a whole round of the health checks: the minute in which they restart costs 0.2 % more
SHARE = 0.8
SETTLE_SECONDS = 12.0
WATCH_SECONDS = 60.0
CGROUPS = "/sys/fs/cgroup"
NO_LIMITS = {"MAX_CONCURRENT_TASKS": "64", "LOG_FORMAT": "json"}


class Containers:
    """The stack of docker-compose.yml under a name and port of its own; removed with its volumes at the end."""

    def __init__(self, image: str) -> None:
        self.name, self.port = f"muster-load-{secrets.token_hex(3)}", free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ}
        self._env = {**kept, **NO_LIMITS, "MUSTER_IMAGE": image, "PUBLISH_PORT": str(self.port)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.compose("down", "--volumes", "--timeout", "2")

    def compose(self, *arguments: str) -> str:
        """Runs `docker compose` and returns what it printed; exits with that when it fails."""
        return self._run("docker", "compose", "-p", self.name, "--env-file", os.devnull, *arguments)

    def find_container(self, service: str) -> str:
        """Returns the id of a service's container."""
        return self.compose("ps", "-q", service).split()[0]

    def read_cpu_seconds(self, service: str) -> float:
        """Seconds of processor time of everything in the container, its health checks too, as the host counts it.

        To ask inside it costs it 20 ms: 0.4 % of a core when four are watched for 20 s.
        """
        groups = [
            line.split(":", 2) for line in Path(f"/proc/{self._find_pid(service)}/cgroup").read_text().splitlines()
        ]
        paths = {controller: path for _, controllers, path in groups for controller in controllers.split(",")}
        if "cpuacct" in paths:  # version 1
            return int(Path(f"{CGROUPS}/cpuacct{paths['cpuacct']}/cpuacct.usage").read_text()) / 1e9
        stat = dict(line.split() for line in Path(f"{CGROUPS}{paths['']}/cpu.stat").read_text().splitlines())
        return int(stat["usage_usec"]) / 1e6

    def crash(self, service: str) -> None:
        """`kill -9` of the main process, past Docker: what `docker kill` stops is not started again."""
        os.kill(self._find_pid(service), signal.SIGKILL)

    def _find_pid(self, service: str) -> int:
        """Returns the host's number of the container's first process."""
        return int(self._run("docker", "inspect", "-f", "{{.State.Pid}}", self.find_container(service)))

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=ROOT, env=self._env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout


@dataclass
class Load:
    """One of the two suites, with the tasks a second that it completed in each round."""

    name: str
    url: str
    rates: list[float] = field(default_factory=list)
    failed: int = 0


def main() -> int:
    given = _parse_arguments()
    say = Console(stderr=True).print
    with Stage() as stage, Containers(given.image) as stack:
        say(f"Starting {stack.name} …")
        began = time.monotonic()
        stack.compose("up", "-d", "--wait")
        up = time.monotonic() - began
        _ask_once(stack.url)
        first = time.monotonic() - began
        say(f"Idle for {SETTLE_SECONDS:.0f} + {given.idle_seconds:.0f} s …")
        idle = _measure_idle(stack, given.idle_seconds)
        say("Load on containers and on plain processes, in turns …")
        candidates = [Load("containers", stack.url), Load("plain processes", _start_processes(stage))]
        uvloop.run(_measure(candidates, given))
        outages = {service: _measure_outages(stack, service, given.crashes, say) for service in SERVICES}
    figures = [
        Figure("up -d --wait to the first answer", first, "s", target=UP_SECONDS),
        Figure("  of which up -d --wait", up, "s"),
        Figure("four idle containers, health checks included", idle, "% of a core", target=IDLE_PERCENT),
        *(Figure(f"tasks a second, {c.name}", median(c.rates), "/s") for c in candidates),
        Figure("containers / plain processes", _compute_ratio(*candidates), "x", target=SHARE, at_least=True),
        Figure("tasks that failed", float(sum(c.failed for c in candidates)), "", target=0.0),
        *(
            Figure(f"kill -9 of the {service}'s process: serving again after", median(seconds), "s", AGAIN_SECONDS)
            for service, seconds in outages.items()
        ),
    ]
    notes = [
        f"{given.rounds} rounds of {given.seconds:g} s with {given.concurrency} tasks at once; {given.crashes} crashes "
        "of each service, medians.",
        f"Idle: over {given.idle_seconds:g} s.",
        "Serving again: all three agents healthy and a task accepted after the crash completed. "
        f"Load average at the end: {os.getloadavg()[0]:.1f} on {len(stage.cores)} cores.",
    ]
    return show("The suite in containers", figures, notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.containers",
        description="""Brings docker-compose.yml up under a name and a port of its own, asks the first question, watches
        it idle, puts it under load in turns with the same suite as plain processes, and kills each service's process.
        Needs Docker with Compose v2 and the image (docker compose build), and the right to signal the containers'
        processes (root). Loopback only; removes what it made. Exit code 1: a target was missed.""",
    )
    parser.add_argument("--image", default="muster:latest", help="(default: %(default)s)")
    parser.add_argument(
        "--idle-seconds", type=float, default=IDLE_SECONDS, help="to watch it idle (default: %(default)s)"
    )
    parser.add_argument("--concurrency", type=int, default=16, help="tasks at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of load, a turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--crashes", type=int, default=3, help="of each service (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


def _start_processes(stage: Stage) -> str:
    """Starts the same suite as plain processes and returns its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    database = {"DATABASE_URL": f"sqlite:///{stage.folder}/muster.db"}
    coordinator = stage.start("coordinator", "--port", str(port), env=NO_LIMITS | database)
    env = NO_LIMITS | {"COORDINATOR_URL": url, "KNOWLEDGE_DIR": str(ROOT / "docs")}
    for name in SERVICES[1:]:
        state = {"STATE_DIR": str(stage.folder / name)}
        stage.start(f"workers.{name}", "--port", str(free_port()), env=env | state)
    stage.wait(coordinator, f"{url}/ready")
    wait_for_agents(url, *SERVICES[1:])
    return url


def _measure_idle(stack: Containers, seconds: float) -> float:
    """Measures the idle suite; returns percent of a core."""
    time.sleep(SETTLE_SECONDS)
    before, began = {service: stack.read_cpu_seconds(service) for service in SERVICES}, time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    return sum(stack.read_cpu_seconds(service) - before[service] for service in SERVICES) / elapsed * 100


async def _measure(candidates: Sequence[Load], given: argparse.Namespace) -> None:
    timeout = aiohttp.ClientTimeout(total=90)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        for candidate in candidates:
            await _run_load(session, candidate, given.concurrency, 2.0)  # caches, the index
        for _ in range(given.rounds):
            for candidate in candidates:
                candidate.rates.append(await _run_load(session, candidate, given.concurrency, given.seconds))


async def _run_load(session: aiohttp.ClientSession, candidate: Load, callers: int, seconds: float) -> float:
    began, done = time.monotonic(), 0

    async def keep_calling() -> None:
        nonlocal done
        while time.monotonic() < began + seconds:
            async with session.post(f"{candidate.url}/execute_task", json=QUESTION) as answer:
                body = await answer.json()
            done += body.get("status") == "completed"
            candidate.failed += body.get("status") != "completed"

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(keep_calling())
    return done / (time.monotonic() - began)


def _compute_ratio(ours: Load, theirs: Load) -> float:
    return median(a / b for a, b in zip(ours.rates, theirs.rates, strict=True))


def _measure_outages(stack: Containers, service: str, crashes: int, say: Callable[[str], None]) -> list[float]:
    """Crashes a service several times; returns the seconds until it worked again each time."""
    found = []
    for number in range(crashes):
        time.sleep(11)  # Docker doubles its pause before a restart for what ran less than 10 s
        said = _get(stack.url, "/tasks?limit=1")
        assert said is not None
        stack.crash(service)
        began = time.monotonic()
        while not _serves_anew(stack, service, began):
            if time.monotonic() > began + WATCH_SECONDS:
                sys.exit(f"{service} did not serve again within {WATCH_SECONDS:.0f} s.")
            time.sleep(0.05)
        _ask_once(stack.url)
        found.append(time.monotonic() - began)
        say(f"kill -9 of the {service}'s process, {number + 1}: serving again after {found[-1]:.1f} s")
    return found


def _serves_anew(stack: Containers, service: str, since: float) -> bool:
    path = "/health" if service == "coordinator" else f"/agents/{service}/health"
    seen, agents = _get(stack.url, path), _get(stack.url, "/agents")
    if seen is None or agents is None or seen["uptime_seconds"] > time.monotonic() - since:
        return False
    return [agent["status"] for agent in agents["agents"]] == ["healthy"] * len(SERVICES[1:])


def _get(url: str, path: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(url + path, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (OSError, ValueError):
        return None


def _ask_once(url: str) -> None:
    """Asks one question; exits when it is not answered."""
    wanted = urllib.request.Request(f"{url}/execute_task", json.dumps(QUESTION).encode())
    try:
        with urllib.request.urlopen(wanted, timeout=90) as answer:
            status = json.load(answer)["status"]
    except urllib.error.HTTPError as exc:
        status = exc.read().decode(errors="replace")
    if status != "completed":
        sys.exit(f"A task was not completed: {status}")


if __name__ == "__main__":
    sys.exit(main())
