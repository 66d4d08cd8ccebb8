"""How long a coordinator with many open tasks needs to be ready again after kill -9, and whether it still has them."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
import uvloop
from rich.console import Console
from rich.progress import Progress

from load.agents.noop import ROLES
from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.services import wait_for_agents
from load.processes.stage import Stage

MAX_SECONDS = 2.0
AT_ONCE = 32
TASK = {"task_description": "How do the tides work?", "timeout_seconds": 3600}
OPEN = ("queued", "running")


def main() -> int:
    given = _parse_arguments()
    with Stage() as stage:
        port, agents = free_port(), free_port()
        url = f"http://127.0.0.1:{port}"
        env = {
            "DATABASE_URL": f"sqlite:///{stage.folder}/muster.db",
            "MAX_QUEUED_TASKS": str(given.tasks + 1_000),
        }
        coordinator = stage.start("coordinator", "--port", str(port), env=env)
        stage.wait(coordinator, f"{url}/ready")
        stage.start("load.noop_agent", "--port", str(agents), "--register", url, "--hang")
        wait_for_agents(url, *ROLES)
        began = time.monotonic()
        ids = uvloop.run(_run_all(f"accepting {given.tasks} tasks", [_accept(url)] * given.tasks))
        accepting = time.monotonic() - began
        coordinator.kill()
        coordinator.wait()
        again = stage.start("coordinator", "--port", str(port), env=env)
        seconds = stage.wait(again, f"{url}/ready")
        states = Counter(uvloop.run(_run_all("asking for each of them", [_fetch_status(url, id) for id in ids])))
    there = sum(states[status] for status in OPEN)
    figures = [
        Figure("ready again after kill -9", seconds, "s", target=MAX_SECONDS),
        Figure("tasks lost", float(given.tasks - there), "", target=0.0),
        Figure("accepted before, each durable", given.tasks / accepting, "tasks/s"),
    ]
    notes = ["After the restart: " + ", ".join(f"{count} {status}" for status, count in states.most_common()) + "."]
    return show(f"A restart with {given.tasks} open tasks", figures, notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.restart",
        description="""Gives a coordinator --tasks tasks whose agents never answer, kills it with SIGKILL, starts it
        again on the same journal, and measures the time from that start (interpreter and imports included) until
        /ready answers 200. Then it asks for every task. Loopback only; ends what it started. Exit code 1: a target
        was missed.""",
    )
    parser.add_argument("--tasks", type=int, default=10_000, help="open at the kill (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


SendTask = Callable[[aiohttp.ClientSession], Awaitable[str]]


def _accept(url: str) -> SendTask:
    async def call(session: aiohttp.ClientSession) -> str:
        """Returns the id of a task that was accepted."""
        prefer = {"Prefer": "respond-async"}
        async with session.post(f"{url}/execute_task", json=TASK, headers=prefer) as answer:
            if answer.status != 202:
                raise RuntimeError(f"HTTP {answer.status}: {await answer.text()}")
            return str((await answer.json())["task_id"])

    return call


def _fetch_status(url: str, id: str) -> SendTask:
    async def call(session: aiohttp.ClientSession) -> str:
        """Returns the status of a task, or `HTTP n` where it has none."""
        async with session.get(f"{url}/tasks/{id}") as answer:
            return str((await answer.json())["status"]) if answer.status == 200 else f"HTTP {answer.status}"

    return call


async def _run_all(what: str, calls: list[SendTask]) -> list[str]:
    """Makes all calls, some at once, and returns their results in no order."""
    waiting, returned = iter(calls), list[str]()
    timeout = aiohttp.ClientTimeout(total=30)
    with Progress(console=Console(stderr=True), refresh_per_second=2, transient=True) as progress:
        bar = progress.add_task(what, total=len(calls))
        async with aiohttp.ClientSession(timeout=timeout) as session:

            async def keep_calling() -> None:
                for call in waiting:
                    returned.append(await call(session))
                    progress.advance(bar)

            async with asyncio.TaskGroup() as group:
                for n in range(AT_ONCE):
                    group.create_task(keep_calling(), name=f"caller-{n}")
    return returned


if __name__ == "__main__":
    sys.exit(main())
