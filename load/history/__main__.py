"""`python -m load.history`: what a long history costs: its file, a start, lists, what happens beside them, pruning."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from load.figures.figure import Figure
from load.figures.table import show
from load.growth.history import fill
from load.growth.subject import LOADING, start
from load.history.lists import measure_beside_lists, measure_lists
from load.history.pruning import count_in_file, measure_pruning
from load.history.starting import measure_start
from load.processes.stage import Stage

ONE_STEP = {"plan": [{"id": "s0", "capability": "research"}]}
SAMPLE = 1_000  # real tasks whose bytes are counted
MOST_ONE_STEP, MOST_DEFAULT, MOST_START_SECONDS, MOST_SLOWER = 700, 4_000, 2.0, 1.3


def main() -> int:
    given = _parse_arguments()
    console = Console(stderr=True)
    with Stage() as stage:
        stage.pin(0, LOADING)
        figures, notes = asyncio.run(_measure(stage, given.tasks, given.journal, console))
    return show(f"A history of {given.tasks:,} tasks of one step", figures, notes, as_json=given.json)


async def _measure(stage: Stage, tasks: int, kept: Path | None, console: Console) -> tuple[list[Figure], list[str]]:
    figures = []
    plans: tuple[tuple[str, dict[str, Any], int], ...] = (
        ("one step", ONE_STEP, MOST_ONE_STEP),
        ("the default plan", {}, MOST_DEFAULT),
    )
    for name, plan, most in plans:
        with console.status(f"bytes of a task of {name}"):
            value = await _measure_bytes(stage, plan)
        figures.append(Figure(f"a task of {name}, no evidence in it", value, "bytes", target=most))

    journal = kept or stage.folder / "history.db"
    if not journal.exists():
        async with start(stage, journal=journal) as subject:
            await subject.measure_cost(1, at_once=1, more=ONE_STEP)
            template = (await subject.list_ended())[0]
        with console.status(f"filling {journal}"):
            await asyncio.to_thread(fill, journal, template, start=1, end=tasks)
    figures.append(Figure("the file, a task", journal.stat().st_size / tasks, "bytes", target=1e9 / 1e6))
    with console.status("starts"):
        seconds = [await measure_start(stage, f"sqlite:///{journal}") for _ in range(3)]
    figures.append(Figure("start until ready, best of 3", min(seconds), "s", target=MOST_START_SECONDS))

    with console.status("lists"):
        async with start(stage, journal=journal) as subject:
            figures += await measure_lists(subject)
            figures += await measure_beside_lists(subject)
    with console.status("pruning"):
        pruning, notes = await measure_pruning(
            stage,
            f"sqlite:///{journal}",
            lambda: count_in_file(journal),
            days=tasks * 0.5 / 86_400 / 2,
            most=MOST_SLOWER,
        )
    return figures + pruning, notes


async def _measure_bytes(stage: Stage, plan: dict[str, Any]) -> float:
    """What the file grows by for a task that was really carried, once the coordinator has ended."""
    journal = stage.folder / f"bytes-{len(plan)}.db"
    async with start(stage, journal=journal):
        pass
    empty = journal.stat().st_size
    async with start(stage, journal=journal) as subject:
        await subject.measure_cost(SAMPLE, at_once=32, more=plan)
    return (journal.stat().st_size - empty) / SAMPLE


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.history",
        description="""Fills a journal with --tasks ended tasks (one real one, its rows repeated by SQL) and measures
        the file, a start, every list with every filter, other calls beside lists, and live tasks while half of the
        history is being pruned, in turns with none being pruned. Loopback only, Linux only. A million tasks take
        about five minutes and 1.5 GB in the temp folder. Exit code 1: a target was missed.""",
    )
    parser.add_argument("--tasks", type=int, default=100_000, help="in the history (default: %(default)s)")
    parser.add_argument(
        "--journal",
        type=Path,
        help="where the filled file is kept or found; pruning makes it smaller",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
