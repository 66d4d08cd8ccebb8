"""How long the console's pages take with a long history and many agents, and what viewers of them cost."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter

import aiohttp

from load.figures.figure import Figure
from load.figures.table import show
from load.findings.rows import compute_percentiles
from load.growth.subject import Subject, build_request, start
from load.processes.stage import Stage

MOST_MILLISECONDS = 100.0  # a view
MOST_PERCENT = 20.0  # of a core, for all viewers
AN_ADDRESS = 150  # new agents, of the 200 that one may register at once
EACH = 20  # calls of every page
VIEWS = {
    "ask": "/console/",
    "tasks": "/console/tasks",
    "tasks with a word that all have": "/console/tasks?q=tides",
    "tasks with a word that none has": "/console/tasks?q=nothing",
    "tasks of an agent": "/console/tasks?agent=researcher",
    "a task": "/console/tasks/{task}",
    "a step": "/console/tasks/{task}?step=research",
    "agents": "/console/agents",
    "agents with a word": "/console/agents?q=agent-7",
    "the last hour": "/console/numbers",
    "the last day": "/console/numbers?of=day",
    "health": "/console/health",
}
BROWSER = {"Accept": "text/html"}
WATCHER = {"Accept": "text/event-stream"}


async def measure(given: argparse.Namespace) -> list[Figure]:
    with Stage() as stage:
        async with start(stage) as subject:
            bodies = [json.dumps(build_request()).encode()] * given.tasks
            await subject.send_all(bodies, at_once=32, expected=200)
            await _register(subject, given.agents)
            figures = [await _time_view(subject, name, path) for name, path in VIEWS.items()]
            for path, name in ((VIEWS["tasks"], "the list"), (VIEWS["agents"], "the agents")):
                figures.append(await _watch(subject, path, name, given))
            return figures


async def _time_view(subject: Subject, name: str, path: str) -> Figure:
    """The p95 of one page."""
    address = path.format(task=(await subject.list_ended())[0])
    seconds = []
    for _ in range(EACH):
        began = time.monotonic()
        status, _ = await subject.http.request("GET", address, headers=BROWSER)
        seconds.append(time.monotonic() - began)
        assert status == 200, (address, status)
    return Figure(f"{name}: p95", 1000 * compute_percentiles(seconds)[1], "ms", target=MOST_MILLISECONDS)


async def _watch(subject: Subject, path: str, name: str, given: argparse.Namespace) -> Figure:
    """Processor time of the coordinator while viewers watch one page that changes all the time, without the changes."""
    body = [json.dumps(build_request()).encode()]

    async def change_for(seconds: float) -> float:
        before, until = subject.read_cpu_seconds(), time.monotonic() + seconds
        while time.monotonic() < until:
            await subject.send_all(body, at_once=1, expected=200)
            await asyncio.sleep(0.5)
        return (subject.read_cpu_seconds() - before) / seconds * 100

    got = Counter[str]()
    alone = await change_for(given.seconds)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**20) as session:
        watching = [asyncio.create_task(_follow(session, subject.url + path, got)) for _ in range(given.viewers)]
        await asyncio.sleep(3)
        watched = await change_for(given.seconds)
        seen = sum(not one.done() for one in watching)
        for one in watching:
            one.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    assert seen == given.viewers, f"only {seen} streams stayed open"
    what = f"{given.viewers} viewers of {name}, {got['views']:,} views sent"
    return Figure(what, watched - alone, "% of a core", target=MOST_PERCENT)


async def _follow(session: aiohttp.ClientSession, url: str, got: Counter[str]) -> None:
    async with session.get(url, headers=WATCHER) as stream:
        async for piece in stream.content.iter_any():
            got["views"] += piece.count(b"event: view")


async def _register(subject: Subject, agents: int) -> None:
    """Agents at an address where nobody is; each source may add some."""
    for first in range(0, agents, AN_ADDRESS):
        connector = aiohttp.TCPConnector(local_addr=(f"127.0.0.{2 + first // AN_ADDRESS}", 0))
        async with aiohttp.ClientSession(connector=connector) as session:
            for n in range(first, min(agents, first + AN_ADDRESS)):
                body = {"name": f"agent-{n}", "endpoint": f"{subject.agents_url}/{n}", "capabilities": ["none"]}
                async with session.post(f"{subject.url}/register_agent", json=body) as answer:
                    assert answer.status == 201, await answer.text()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.console",
        description="""Fills a coordinator with tasks and agents, times every page of the console, and measures what
        viewers cost. Ends what it started. Exit code 1: a target was missed.""",
    )
    parser.add_argument("--tasks", type=int, default=10_000, help="that have ended (default: %(default)s)")
    parser.add_argument("--agents", type=int, default=990, help="beside three at work (default: %(default)s)")
    parser.add_argument("--viewers", type=int, default=500, help="of one page (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="to watch for (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    given = parser.parse_args()
    notes = [f"{given.tasks:,} ended tasks, {given.agents + 3:,} agents."]
    return show("The console", asyncio.run(measure(given)), notes, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
