"""What a noisy tenant costs a quiet one, and an agent that hangs the tasks for another, side by side in one run."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from statistics import quantiles
from typing import Any

import aiohttp

from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.services import wait_for_agents
from load.processes.stage import Stage

PLACES, QUEUED = 16, 200
AGENT_MS = 200.0
QUIET_RATE = 3.0  # tasks a second; places and agent together do 80
TIMES = 50  # its own rate, that the noisy tenant sends
MAX_NOISE = 1.25
LONG, WORKERS = 70, 8  # tasks for the agent that hangs, and callers of the one that works
MIN_LEFT = 0.95


def main() -> int:
    given = _parse_arguments()
    with Stage() as stage:
        ports = free_port(), free_port(), free_port()
        url, well, hung = (f"http://127.0.0.1:{port}" for port in ports)
        limits = {"MAX_CONCURRENT_TASKS": str(PLACES), "MAX_QUEUED_TASKS": str(QUEUED), "LOG_LEVEL": "ERROR"}
        coordinator = stage.start("coordinator", "--port", str(ports[0]), env={"DATABASE_URL": "memory:"} | limits)
        agents = [
            stage.start("load.noop_agent", "--port", str(ports[1]), "--delay-ms", str(AGENT_MS), core=1),
            stage.start("load.noop_agent", "--port", str(ports[2]), "--hang", core=1),
        ]
        for process, at in zip(
            (coordinator, *agents), (f"{url}/ready", f"{well}/health", f"{hung}/health"), strict=True
        ):
            stage.wait(process, at)
        figures = asyncio.run(_measure(url, {"well": well, "hung": hung}, given.rounds, given.seconds))
    notes = [
        f"{given.rounds} rounds of {given.seconds:g} s each way, in turns; {PLACES} places, {AGENT_MS:g} ms a step.",
        f"The quiet tenant sends {QUIET_RATE:g} tasks/s, the noisy one {TIMES} times as many; {LONG} tasks hang.",
    ]
    return show("Fairness", figures, notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.fairness",
        description="""Starts a coordinator and two agents that do nothing: one after a pause, one for ever. Measures a
        quiet tenant's tasks with and without a noisy one, and the tasks for the first agent with and without tasks for
        the second. Ends what it started. Exit code 1: a target was missed.""",
    )
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each way in a round (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


async def _measure(url: str, agents: dict[str, str], rounds: int, seconds: float) -> list[Figure]:
    quiet: dict[bool, list[float]] = {False: [], True: []}
    done: dict[bool, int] = {False: 0, True: 0}
    refused = 0
    async with _connect(url) as http, _connect(url) as other:
        for name, endpoint in agents.items():
            await _post(http, "/register_agent", {"name": name, "endpoint": endpoint, "capabilities": [name]}, {})
        await asyncio.to_thread(wait_for_agents, url, *agents)
        for _ in range(rounds):
            for noisy in (False, True):
                noise = asyncio.create_task(_send(other, "noisy", QUIET_RATE * TIMES, seconds)) if noisy else None
                answers = await _send(http, "quiet", QUIET_RATE, seconds)
                quiet[noisy] += [took for _, took in answers]
                refused += sum(status != 200 for status, _ in answers)
                if noise is not None:
                    await noise
            for hangs in (False, True):
                held = [await _begin_long(http) for _ in range(LONG)] if hangs else []
                done[hangs] += await _keep_busy(http, seconds)
                for task in held:
                    await _post(http, f"/tasks/{task}/cancel", None, {})
    alone, beside = (quantiles(quiet[noisy], n=20)[-1] for noisy in (False, True))
    return [
        Figure("quiet tenant alone, p95", alone * 1000, "ms"),
        Figure("quiet tenant beside the noisy one, p95", beside * 1000, "ms"),
        Figure("  beside / alone", beside / alone, "x", target=MAX_NOISE),
        Figure("  of its tasks refused or failed", float(refused), "", target=0.0),
        Figure("tasks for an agent, no other hangs", done[False] / rounds / seconds, "/s"),
        Figure("tasks for an agent, another one hangs", done[True] / rounds / seconds, "/s"),
        Figure("  hangs / does not", done[True] / max(1, done[False]), "x", target=MIN_LEFT, at_least=True),
    ]


def _connect(url: str) -> aiohttp.ClientSession:
    """A caller with connections of its own."""
    return aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0))


async def _send(http: aiohttp.ClientSession, tenant: str, rate: float, seconds: float) -> list[tuple[int, float]]:
    """Sends tasks at a steady rate, whatever becomes of them; status and seconds of each."""
    began, sent = time.perf_counter(), []
    for n in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + n / rate - time.perf_counter()))
        sent.append(asyncio.create_task(_time_task(http, tenant)))
    return list(await asyncio.gather(*sent))


async def _time_task(http: aiohttp.ClientSession, tenant: str) -> tuple[int, float]:
    began = time.perf_counter()
    status = 0
    with contextlib.suppress(aiohttp.ClientError):  # a connection that the coordinator closes after it refused a head
        status, _ = await _post(http, "/execute_task", _make_task("well", 30.0), {"Muster-Tenant": tenant})
    return status, time.perf_counter() - began


async def _begin_long(http: aiohttp.ClientSession) -> str:
    _, task = await _post(http, "/execute_task", _make_task("hung", 600.0), {"Prefer": "respond-async"})
    task_id: str = task["task_id"]
    return task_id


async def _keep_busy(http: aiohttp.ClientSession, seconds: float) -> int:
    """So many callers with one task each at any time; how many completed."""
    until, done = time.perf_counter() + seconds, 0

    async def call() -> None:
        nonlocal done
        while time.perf_counter() < until:
            async with asyncio.timeout(max(0.01, until - time.perf_counter())):
                status, _ = await _post(http, "/execute_task", _make_task("well", 30.0), {})
                done += status == 200

    await asyncio.gather(*(call() for _ in range(WORKERS)), return_exceptions=True)
    return done


def _make_task(agent: str, seconds: float) -> dict[str, Any]:
    return {"task_description": "Work", "timeout_seconds": seconds, "plan": [{"id": "s", "agent": agent}]}


async def _post(http: aiohttp.ClientSession, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
    async with http.post(path, json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


if __name__ == "__main__":
    sys.exit(main())
