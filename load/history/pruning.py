"""Live tasks while a history is being pruned, in turns with live tasks while none is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from load.figures.figure import Figure
from load.findings.rows import compute_percentiles
from load.growth.subject import Subject, build_request, start
from load.processes.stage import Stage

ROUNDS = 2
TASKS = 300
APART_SECONDS = 0.05  # 20 a second, whatever becomes of those before
NEVER_DAYS = 3_650


async def measure_pruning(
    stage: Stage, database_url: str, count: Callable[[], int], *, days: float, most: float, rounds: int = ROUNDS
) -> tuple[list[Figure], list[str]]:
    """p99 of tasks at 20 a second with everything older than `days` going, against nothing going.

    `count` counts the tasks that have ended.
    """
    seconds: dict[bool, list[float]] = {False: [], True: []}
    gone, took = 0, 0.0
    for _ in range(rounds):
        for pruning in (False, True):
            env = {"DATABASE_URL": database_url, "HISTORY_DAYS": str(days if pruning else NEVER_DAYS)}
            async with start(stage, env=env) as subject:
                await subject.measure_cost(20, at_once=1)
                before, began = await asyncio.to_thread(count), time.monotonic()
                seconds[pruning] += await _run_live(subject)
                if pruning:
                    took += time.monotonic() - began
                    gone += before - await asyncio.to_thread(count) + TASKS
    rest, busy = (compute_percentiles(seconds[pruning]) for pruning in (False, True))
    figures = [
        Figure("live tasks, nothing pruned: p99", 1000 * rest[2], "ms"),
        Figure("live tasks while pruning: p99", 1000 * busy[2], "ms"),
        Figure("p99 while pruning against none", busy[2] / rest[2], "times", target=most),
        Figure("pruned", gone / took, "tasks/s"),
    ]
    return figures, [f"p50 {1000 * rest[0]:.1f} and {1000 * busy[0]:.1f} ms; {gone:,} tasks were pruned meanwhile."]


async def _run_live(subject: Subject) -> list[float]:
    body = json.dumps(build_request()).encode()

    async def send_one() -> float:
        began = time.monotonic()
        status, _ = await subject.http.request("POST", "/execute_task", body)
        assert status == 200
        return time.monotonic() - began

    tasks = []
    began = time.monotonic()
    for number in range(TASKS):
        await asyncio.sleep(max(0.0, began + number * APART_SECONDS - time.monotonic()))
        tasks.append(asyncio.create_task(send_one(), name=f"task-{number}"))
    return await asyncio.gather(*tasks)


def count_in_file(journal: Path) -> int:
    """The tasks that have ended, in a file that a coordinator has open."""
    with contextlib.closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as db:
        found: int = db.execute("SELECT count(*) FROM history").fetchone()[0]
        return found
