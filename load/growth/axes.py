"""The things that grow, each measured with a coordinator of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from statistics import median
from typing import Any

from load.agents.noop import ROLES
from load.bare.client import Client
from load.growth.history import fill
from load.growth.line import Growth, GrowthLine
from load.growth.subject import REQUESTS_AT_ONCE, SizeRefused, Subject, build_request, start
from load.processes.stage import Stage

ROUNDS = 3
MOST_AT_ONCE = 4_000
RUNNING = 64
AN_ADDRESS = 150  # new agents, of the 200 that one may register at once


def _plan_chain(size: int) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"id": "s0", "capability": "research"}]
    steps += [{"id": f"s{n}", "capability": "research", "needs": [f"s{n - 1}"]} for n in range(1, size)]
    return {"plan": steps}


def _plan_fan_out(size: int) -> dict[str, Any]:
    return {"plan": [{"id": f"s{n}", "capability": "research"} for n in range(size)]}


async def grow_steps(stage: Stage) -> Growth:
    """One task after the other."""
    sizes, note = (1, 3, 10, 30, 100, 200, 500, 1_000), None
    lines = []
    async with start(stage) as subject:
        await subject.measure_cost(20, at_once=1)
        for name, plan in (("chain", _plan_chain), ("fan-out", _plan_fan_out)):
            points: list[tuple[float, float]] = []
            for size in sizes:
                try:
                    points.append((size, await _measure_lone(subject, max(1, 40 // size), plan(size))))
                except SizeRefused as exc:
                    note = f"A plan of {size:,} steps is refused: {exc}"
                    break
            lines.append(GrowthLine(name, points))
    how = "Plans of so many steps, each after the one before it (chain) or all at once (fan-out); one task at a time."
    return Growth("steps", "Steps of a task", "steps", how, lines, note)


async def grow_agents(stage: Stage) -> Growth:
    """Names are added while it runs; each of the three capabilities gets a third."""
    points: list[tuple[float, float]] = []
    note = None
    async with start(stage) as subject:
        await subject.measure_cost(20, at_once=1)
        there = len(ROLES)
        for size in (3, 10, 30, 100, 300, 1_000):
            for n in range(there, size):
                body = {"name": f"agent-{n}", "endpoint": subject.agents_url, "capabilities": [_choose_capability(n)]}
                status, said = await _register(subject, body, source=f"127.0.0.{2 + n // AN_ADDRESS}")
                if status not in (200, 201):
                    note = f"Agent {n + 1:,} is refused: {json.loads(said).get('detail', status)}"
                    break
                there = n + 1
            await asyncio.sleep(1)  # first probes
            points.append((there, await _measure_lone(subject, 30)))
    how = "So many registered and healthy, a third for each capability; default plan, one task at a time."
    return Growth("agents", "Agents registered", "agents", how, [GrowthLine("a task", points)], note)


async def _register(subject: Subject, body: dict[str, Any], *, source: str) -> tuple[int, bytes]:
    """From one of this machine's own addresses: the coordinator limits how many new agents come from one at once."""
    async with Client(subject.url.removeprefix("http://"), source=source) as http:
        return await http.request("POST", "/register_agent", json.dumps(body).encode())


def _choose_capability(number: int) -> str:
    return list(ROLES.values())[number % len(ROLES)]


async def grow_history(stage: Stage) -> Growth:
    """Ended tasks of one step in the journal before the coordinator starts."""
    journal = stage.folder / "history.db"
    async with start(stage, journal=journal) as subject:
        await subject.measure_cost(1, at_once=1, more=_plan_chain(1))
        template = (await subject.list_ended())[0]
    points: list[tuple[float, float]] = []
    there = 1
    for size in (0, 10_000, 100_000, 1_000_000):
        if size:
            await asyncio.to_thread(fill, journal, template, start=there, end=size)
            there = size
        async with start(stage, journal=journal) as subject:
            await subject.measure_cost(20, at_once=1)
            points.append((size, await _measure_lone(subject, 30)))
    how = (
        f"So many ended tasks of one step in the journal ({journal.stat().st_size / 1e9:.1f} GB at last); default plan."
    )
    return Growth("history", "Tasks in the history", "tasks", how, [GrowthLine("a task", points)])


async def grow_context(stage: Stage) -> Growth:
    """Text and many small values."""
    async with start(stage) as subject:
        await subject.measure_cost(20, at_once=1)
        lines = []
        for name, made in (("one text", _make_text), ("small values", _make_values)):
            sizes = (1_000, 10_000, 100_000, 300_000, 1_000_000)
            points = [(size / 1000, await _measure_lone(subject, 10, {"context": made(size)})) for size in sizes]
            lines.append(GrowthLine(name, points))
    how = "`context` of so many kB: one long text, or a list of small objects; default plan, one task at a time."
    return Growth("context", "Context of a task", "kB", how, lines)


def _make_text(size: int) -> dict[str, Any]:
    return {"notes": "tides " * (size // 6)}


def _make_values(size: int) -> dict[str, Any]:
    return {"rows": [{"name": "tide", "height": n} for n in range(size // 32)]}


async def grow_at_once(stage: Stage) -> Growth:
    """Each caller has one task at any time."""
    sizes = (1, 3, 10, 30, 100, 300, 1_000, 2_000)
    async with start(stage, env={"MAX_CONCURRENT_TASKS": str(MOST_AT_ONCE)}) as subject:
        await subject.measure_cost(50, at_once=10)
        found: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(ROUNDS):
            for size in sizes:
                found[size].append(await subject.measure_cost(max(150, size), at_once=size))
    points = [(size, median(costs)) for size, costs in found.items()]
    how = f"Default plan, so many callers with one task each; MAX_CONCURRENT_TASKS={MOST_AT_ONCE}."
    return Growth("at-once", "Tasks at once", "at once", how, [GrowthLine("a task", points)])


async def grow_waiting(stage: Stage) -> Growth:
    """Agents are held until all wait, then let go until the last has ended."""
    points: list[tuple[float, float]] = []
    for size in (0, 100, 300, 1_000, 3_000, 10_000):
        env = {"MAX_CONCURRENT_TASKS": str(RUNNING), "MAX_QUEUED_TASKS": "12000"}
        async with start(stage, env=env, hang=True) as subject:
            points.append((size, await _measure_waiting(subject, size + RUNNING)))
    how = (
        f"{RUNNING} tasks run and so many wait, then all go on: acceptance, waiting and running of all of them; "
        "default plan."
    )
    return Growth("waiting", "Tasks that wait", "waiting", how, [GrowthLine("a task", points)])


async def _measure_waiting(subject: Subject, count: int) -> float:
    before = subject.read_cpu_seconds()
    body = json.dumps(build_request()).encode()
    later = {"Prefer": "respond-async"}
    await subject.send_all([body] * count, at_once=REQUESTS_AT_ONCE, expected=202, headers=later)
    await subject.set_delay(0)
    while await subject.count_open_tasks():  # noqa: ASYNC110  it is asked over HTTP
        await asyncio.sleep(0.25)
    return 1000 * (subject.read_cpu_seconds() - before) / count


async def _measure_lone(subject: Subject, tasks: int, more: Mapping[str, Any] | None = None) -> float:
    """The median of some rounds of tasks one after the other."""
    return median([await subject.measure_cost(tasks, at_once=1, more=more) for _ in range(ROUNDS)])


AXES: Mapping[str, Callable[[Stage], Coroutine[None, None, Growth]]] = {
    "steps": grow_steps,
    "agents": grow_agents,
    "history": grow_history,
    "context": grow_context,
    "at_once": grow_at_once,
    "waiting": grow_waiting,
}
