"""The rounds: every contender in turn at full load and at a fixed rate, so that a slow moment hits all of them."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import Progress

from load.bare.client import Client
from load.peers.measurements import Measured

RATE = 20.0  # tasks a second while the added time is measured
DELAY_MS = 20  # of each agent meanwhile
CALL_SECONDS = 30.0
WARM_SECONDS = 1.0
WARM_AT_ONCE = 4
SLOW = 8.0  # tasks/s: who is slower is measured with few tasks at once and not at RATE
STEPS = ("research", "analyze", "report")
TASK = json.dumps(
    {
        "task_description": "How do the tides work?",
        "timeout_seconds": CALL_SECONDS,
        "plan": [
            {"id": "research", "capability": "research"},
            {"id": "analyze", "capability": "analyze"},
            {"id": "report", "capability": "report", "needs": ["research", "analyze"]},
        ],
    }
).encode()


async def measure(
    all_: Sequence[Measured], agents: str, *, rounds: int, seconds: float, latency_seconds: float
) -> None:
    """Fills in what was measured; `seconds` are of full load, `latency_seconds` (0: none) at RATE, each a round."""
    with Progress(console=Console(stderr=True), refresh_per_second=2, transient=True) as progress:
        bar = progress.add_task("", total=(rounds + 1) * len(all_))
        for each in all_:
            progress.update(bar, description=f"{each.name}: warming up")
            async with open_client(each) as http:
                began, done = time.perf_counter(), await run_full_load(http, each, WARM_AT_ONCE, WARM_SECONDS)
            if len(done) / (time.perf_counter() - began) < SLOW:
                each.at_once = WARM_AT_ONCE
            each.leave()
            progress.advance(bar)
        for n in range(1, rounds + 1):
            for each in all_:
                progress.update(bar, description=f"round {n}: {each.name}")
                each.come()
                await _measure_round(each, agents, seconds, latency_seconds)
                each.leave()
                progress.advance(bar)


async def _measure_round(each: Measured, agents: str, seconds: float, latency_seconds: float) -> None:
    async with open_client(each) as http:
        spent, began = each.read_cpu_seconds(), time.perf_counter()
        durations = await run_full_load(http, each, each.at_once, seconds)
        elapsed = time.perf_counter() - began
        each.rates.append(len(durations) / elapsed)
        each.cpu_us.append((each.read_cpu_seconds() - spent) / max(1, len(durations)) * 1e6)
        each.durations += durations
        if latency_seconds and each.rates[-1] > RATE:
            await set_delay(agents, DELAY_MS)
            each.added += await _run_steady_load(http, each, latency_seconds)
            await set_delay(agents, 0)


def open_client(of: Measured) -> Client:
    return Client(of.place.build_url().removeprefix("http://"))


async def set_delay(agents: str, milliseconds: float) -> None:
    """Lets every step take so long from now on."""
    async with Client(agents.removeprefix("http://")) as http:
        await http.request("PUT", "/delay", str(milliseconds).encode())


async def run_full_load(http: Client, each: Measured, callers: int, seconds: float) -> list[float]:
    """Keeps one task under way for each of `callers` callers; returns the seconds that each task took."""
    until = time.perf_counter() + seconds
    durations: list[float] = []

    async def keep_calling() -> None:
        while time.perf_counter() < until:
            taken = await run_task(http, each)
            if taken is not None:
                durations.append(taken[0])

    async with asyncio.TaskGroup() as group:
        for n in range(callers):
            group.create_task(keep_calling(), name=f"caller-{n}")
    return durations


async def _run_steady_load(http: Client, each: Measured, seconds: float) -> list[float]:
    """Starts tasks at RATE, whatever becomes of earlier ones; returns the seconds that each took beyond its agents."""
    chance = random.Random(1)
    added: list[float] = []

    async def run_one() -> None:
        taken = await run_task(http, each)
        if taken is not None:
            added.append(taken[0] - taken[1])

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for n in range(int(seconds * RATE)):
            at = began + (n + chance.random()) / RATE
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            group.create_task(run_one(), name=f"task-{n}")
    return added


async def run_task(http: Client, each: Measured) -> tuple[float, float] | None:
    """Sends one task; returns its seconds and those of its agents. A task that failed is counted, and None."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(2 * CALL_SECONDS):
            status, answer = await http.request("POST", each.contender.target, TASK)
        taken = time.perf_counter() - began
        body = json.loads(answer)
        if status == 200 and body["status"] == "completed":
            took = {step["step_id"]: step["output"]["seconds"] for step in body["results"]}
            research, analyze, report = (took[name] for name in STEPS)
            return taken, max(research, analyze) + report
    except (OSError, TimeoutError, KeyError, TypeError, ValueError):
        pass
    each.failed += 1
    return None
