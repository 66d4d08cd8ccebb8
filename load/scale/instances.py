"""What a thousand registered instances cost two coordinators: their heartbeats, the probes, and one choice."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.postgres import Server, serve
from load.processes.programs import build_command
from load.processes.stage import Stage
from load.processes.usage import read_cpu_seconds

BEAT_SECONDS = 2.0  # as the chassis of workers sends them
HEALTHY_SECONDS = 90.0  # for all of them to be healthy at every coordinator
AT_ONCE = 32  # first registrations
HOSTS = 10  # that the instances run on: of one, a coordinator takes 200 at once
MAX_CHOICE_US, MAX_BEATS, MAX_WRITES = 50.0, 10.0, 1.05
_CHOICE = """
import random, time
from coordinator.agents.registry import Registry
from shared.contracts import AgentStatus, Registration
registry = Registry(now=time.monotonic, wall=time.time, random=random.Random(1))
for n in range({instances}):
    text = dict(name=f"a{{n % 10}}", endpoint=f"http://10.0.0.1:{{n + 1}}", capabilities=["c"], instance=str(n))
    instance, _ = registry.register(f"id{{n}}", Registration.model_validate(text))
    instance.status = AgentStatus.HEALTHY
    instance.latency = random.random()
"""
_CHOOSE = 'registry.choose(capability="c", agent=None)'
_COMMITS = "SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'muster_writers'"


@dataclass(frozen=True)
class Stretch:
    """What was used in a stretch of time; processor time in % of a core, of each coordinator."""

    percent: Sequence[float]
    writes: float  # commits a second and coordinator
    beats: float  # a second, of all
    probes: float


def main() -> int:
    given = _parse_arguments()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-postgres-"))
        server = stack.enter_context(serve(Path(folder), "max_connections=60"))
        stage = stack.enter_context(Stage())
        stage.pin(0, 1)
        alone, with_all = asyncio.run(_measure(stage, server, given.instances, given.coordinators, given.seconds))
    choice = _time_choice(given.instances)
    beats = sum(with_all.percent) - sum(alone.percent)
    figures = [
        Figure(f"a choice among {given.instances:,} instances", choice, "µs", target=MAX_CHOICE_US),
        Figure("heartbeats and probes, each coordinator", beats / given.coordinators, "% of a core", target=MAX_BEATS),
        *(Figure(f"  coordinator {n}", p, "% of a core") for n, p in enumerate(with_all.percent, 1)),
        Figure("  without any instance, each", sum(alone.percent) / given.coordinators, "% of a core"),
        Figure("commits, each coordinator", with_all.writes, "/s", target=MAX_WRITES),
        Figure("heartbeats, all", with_all.beats, "/s"),
        Figure("probes, all coordinators", with_all.probes, "/s"),
    ]
    notes = [f"Over {given.seconds:g} s each; {given.coordinators} coordinators, one PostgreSQL, one core for them."]
    return show("A thousand instances", figures, notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.scale.instances",
        description="""Starts a PostgreSQL and coordinators, registers instances that send heartbeats by turns to each,
        and answers the probes. Counts processor time of the coordinators and commits. Exit code 1: a target was
        missed. Linux only.""",
    )
    parser.add_argument("--instances", type=int, default=1_000, help="default: %(default)s")
    parser.add_argument("--coordinators", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each of two stretches (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


async def _measure(
    stage: Stage, server: Server, instances: int, coordinators: int, seconds: float
) -> tuple[Stretch, Stretch]:
    """One stretch without instances, and one with all of them."""
    address = server.make_database()
    urls, pids = [], []
    for _ in range(coordinators):
        port = free_port()
        process = stage.start("coordinator", "--port", str(port), env={"DATABASE_URL": address, "LOG_LEVEL": "WARNING"})
        stage.pin(process.pid, 0)
        urls.append(f"http://127.0.0.1:{port}")
        pids.append(process.pid)
        stage.wait(process, f"{urls[-1]}/ready")
    counted: Counter[str] = Counter()

    async def stretch() -> Stretch:
        before, so_far = [read_cpu_seconds(pid) for pid in pids], Counter(counted)
        commits = _count(server, address)
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(seconds)
        took = asyncio.get_running_loop().time() - began
        return Stretch(
            [100 * (read_cpu_seconds(pid) - was) / took for pid, was in zip(pids, before, strict=True)],
            (_count(server, address) - commits) / took / coordinators,
            (counted["beats"] - so_far["beats"]) / took,
            (counted["probes"] - so_far["probes"]) / took,
        )

    runner, port = await _answer_probes(counted), 0
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        hosts = [aiohttp.TCPConnector(local_addr=(f"127.0.0.{2 + n}", 0), limit=16) for n in range(HOSTS)]
        https = [await stack.enter_async_context(aiohttp.ClientSession(connector=host)) for host in hosts]
        await asyncio.sleep(2.0)
        alone = await stretch()
        port = runner.addresses[0][1]
        bodies = [_build(n, port) for n in range(instances)]
        await _register(https, urls, bodies)
        beating = asyncio.create_task(_beat(https, urls, bodies, counted))
        for url in urls:
            await _wait_until_healthy(https[0], url, instances)
        with_all = await stretch()
        beating.cancel()
        await asyncio.wait([beating])
    return alone, with_all


async def _wait_until_healthy(http: aiohttp.ClientSession, url: str, instances: int) -> None:
    until, healthy = asyncio.get_running_loop().time() + HEALTHY_SECONDS, 0
    while healthy < instances:
        if asyncio.get_running_loop().time() > until:
            sys.exit(f"{url} has {healthy} healthy instances of {instances}.")
        await asyncio.sleep(1.0)
        async with http.get(f"{url}/agents?limit=1000&status=healthy") as answer:
            healthy = len((await answer.json())["agents"])


def _build(number: int, port: int) -> dict[str, Any]:
    return {
        "name": f"agent-{number % 10}",
        "endpoint": f"http://127.0.0.1:{port}/{number}",
        "capabilities": [f"skill-{number % 10}"],
        "instance": f"{number:032x}",
    }


async def _answer_probes(counted: Counter[str]) -> web.AppRunner:
    async def answer(request: web.Request) -> web.Response:
        counted["probes"] += 1
        return web.json_response({"status": "healthy"})

    app = web.Application()
    app.router.add_get("/{number}/health", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", free_port()).start()
    return runner


async def _register(
    https: Sequence[aiohttp.ClientSession], urls: Sequence[str], bodies: Sequence[dict[str, Any]]
) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places, _send(https, urls, number, bodies[number]) as answer:
            if answer.status not in (200, 201):
                sys.exit(f"An instance was not registered: {answer.status} {await answer.text()}")

    await asyncio.gather(*(one(number) for number in range(len(bodies))))


async def _beat(
    https: Sequence[aiohttp.ClientSession], urls: Sequence[str], bodies: Sequence[dict[str, Any]], counted: Counter[str]
) -> None:
    """Every instance sends its heartbeat every two seconds, all evenly spread, each to one coordinator."""

    async def beat(number: int) -> None:
        await asyncio.sleep(BEAT_SECONDS * number / len(bodies))
        while True:
            due = asyncio.get_running_loop().time() + BEAT_SECONDS
            with suppress(aiohttp.ClientError):  # an idle connection was closed
                async with _send(https, urls, number, bodies[number]) as answer:
                    counted["beats"] += answer.status == 200
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

    async with asyncio.TaskGroup() as group:
        for number in range(len(bodies)):
            group.create_task(beat(number))


def _send(
    https: Sequence[aiohttp.ClientSession], urls: Sequence[str], number: int, body: dict[str, Any]
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    http = https[number // len(urls) % len(https)]
    return http.post(f"{urls[number % len(urls)]}/register_agent", json=body)


def _count(server: Server, address: str) -> int:
    return int(server.run_sql(address.rpartition("/")[2], _COMMITS) or 0)


def _time_choice(instances: int) -> float:
    """Microseconds; the registry is the coordinator's own, in a process of its own."""
    command = build_command(
        "timeit", "-p", "-u", "usec", "-n", "2000", "-s", _CHOICE.format(instances=instances), _CHOOSE
    )
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.partition("best of 5: ")[2].split()[0])


if __name__ == "__main__":
    sys.exit(main())
