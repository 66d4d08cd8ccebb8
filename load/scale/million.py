"""`python -m load.scale.million`: a million ended tasks, in PostgreSQL behind two coordinators and in a file."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from load.figures.figure import Figure
from load.figures.table import show
from load.growth import history
from load.growth.subject import start
from load.history.pruning import count_in_file, measure_pruning
from load.history.starting import measure_start
from load.processes.postgres import Server, serve
from load.processes.stage import Stage
from load.processes.usage import read_pss_megabytes
from load.scale.filling import APART_SECONDS, OPTIONS, fill
from load.scale.lists import measure_lists

MOST_START_SECONDS, MOST_MEGABYTES, MOST_SLOWER = 3.0, 250.0, 1.3
FILE, SERVER = "file", "PostgreSQL"
DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Journal:
    """A filled journal: how much it takes, how many coordinators share it, and how its ended tasks are counted."""

    name: str
    url: str
    coordinators: int
    bytes: Callable[[], int]
    count: Callable[[], int]
    apart: float  # seconds between two tasks


def main() -> int:
    given = _parse_arguments()
    with tempfile.TemporaryDirectory(prefix="muster-million-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs for an account of its own
        with Stage() as stage, serve(Path(folder) / "postgres", *OPTIONS) as server:
            figures, notes = asyncio.run(_measure(stage, server, given))
    return show(f"A history of {given.tasks:,} tasks of three steps", figures, notes, as_json=given.json)


async def _measure(stage: Stage, server: Server, given: argparse.Namespace) -> tuple[list[Figure], list[str]]:
    console = Console(stderr=True)
    figures, notes = list[Figure](), list[str]()
    with console.status("filling"):
        began = time.monotonic()
        making = [_fill_server(stage, server, given)] if SERVER in given.only else []
        making += [_fill_file(stage, given)] if FILE in given.only else []
        journals = await asyncio.gather(*making)
        notes.append(f"Filled in {time.monotonic() - began:.0f} s.")
    for journal in journals:
        with console.status(f"{journal.name}: lists"):
            found = await _measure_reading(stage, journal, given.tasks)
        with console.status(f"{journal.name}: pruning"):
            days = given.tasks * journal.apart / DAY_SECONDS / 2
            pruning, told = await measure_pruning(
                stage, journal.url, journal.count, days=days, most=MOST_SLOWER, rounds=1
            )
        for one in (*found, *pruning):
            figures.append(Figure(f"{journal.name}: {one.name}", one.value, one.unit, one.target, one.at_least))
        notes += [f"{journal.name}: {note}" for note in told]
    notes.append(f"Load average at the end: {os.getloadavg()[0]:.1f} on {len(stage.cores)} cores.")
    return figures, notes


async def _measure_reading(stage: Stage, journal: Journal, tasks: int) -> Sequence[Figure]:
    """What it takes on the disk, starts, lists, and the memory of each coordinator after them."""
    found = [Figure("on disk, a task", journal.bytes() / tasks, "bytes")]
    starts = [await measure_start(stage, journal.url) for _ in range(3)]
    found.append(Figure("start until ready, best of 3", min(starts), "s", target=MOST_START_SECONDS))
    async with AsyncExitStack() as stack:
        env = {"DATABASE_URL": journal.url}
        subjects = [await stack.enter_async_context(start(stage, env=env)) for _ in range(journal.coordinators)]
        found += await measure_lists(subjects, seconds=tasks * journal.apart)
        for number, subject in enumerate(subjects, 1):
            memory = read_pss_megabytes(subject.process.pid)
            found.append(Figure(f"memory of coordinator {number}", memory, "MB", target=MOST_MEGABYTES))
    return found


async def _fill_server(stage: Stage, server: Server, given: argparse.Namespace) -> Journal:
    url = server.make_database()
    name = url.rpartition("/")[2]
    await fill(url, await _carry_one(stage, url), tasks=given.tasks, output=given.output)
    return Journal(
        SERVER,
        url,
        2,
        lambda: int(server.run_sql(name, "SELECT pg_database_size(current_database())")),
        lambda: int(server.run_sql(name, "SELECT count(*) FROM history")),
        APART_SECONDS,
    )


async def _fill_file(stage: Stage, given: argparse.Namespace) -> Journal:
    file = stage.folder / "history.db"
    url = f"sqlite:///{file}"
    template = await _carry_one(stage, url)
    await asyncio.to_thread(history.fill, file, template, start=1, end=given.tasks)
    return Journal(FILE, url, 1, lambda: file.stat().st_size, lambda: count_in_file(file), history.APART_SECONDS)


async def _carry_one(stage: Stage, url: str) -> str:
    """The id of a task that was really carried."""
    async with start(stage, env={"DATABASE_URL": url}) as subject:
        await subject.measure_cost(1, at_once=1)
        return (await subject.list_ended())[0]


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.scale.million",
        description="""Fills a PostgreSQL of its own, and a file, with --tasks ended tasks of the default plan (a real
        one, its rows repeated by SQL) and measures for each: its size, a start, every list and page with every filter,
        the memory of the coordinators (two share PostgreSQL), and live tasks while half of the history is being
        pruned, next to none being pruned. Needs PostgreSQL's programs; loopback only, Linux only. A million tasks take
        10 GB in the temp folder. Exit code 1: a target was missed.""",
    )
    parser.add_argument("--tasks", type=int, default=1_000_000, help="that have ended (default: %(default)s)")
    parser.add_argument(
        "--output",
        type=int,
        default=300,
        help="characters that each step delivers, in PostgreSQL (default: %(default)s)",
    )
    parser.add_argument("--only", nargs="+", choices=(SERVER, FILE), default=[SERVER, FILE], help="(default: both)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
