"""`python -m load.growth`: what a task costs as steps, agents, history, context, tasks at once and waiting grow."""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
from pathlib import Path

from rich.console import Console

from load.figures.table import show
from load.growth.aims import list_figures
from load.growth.axes import AXES
from load.growth.line import Growth
from load.growth.page import write
from load.growth.subject import LOADING
from load.processes.programs import ROOT
from load.processes.stage import Stage


def main() -> int:
    given = _parse_arguments()
    chosen = {name: grow for name, grow in AXES.items() if given.only is None or name in given.only}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each task at once is a connection, here and there
    found: list[Growth] = []
    console = Console(stderr=True)
    with Stage() as stage:
        stage.pin(0, LOADING)
        for name, grow in chosen.items():
            with console.status(name):
                found.append(asyncio.run(grow(stage)))
    if given.only is None or given.out != ROOT / "load":
        write(given.out, found)
    notes = [f"{growth.title}: {growth.note}" for growth in found if growth.note]
    return show("Growth of a task's processor time", list_figures(found), notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.growth",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""\
Lets one thing grow at a time ({", ".join(AXES)}) and measures the coordinator's processor time a task,
with agents that do nothing. Each must grow in proportion or slower; judged by the three largest sizes.
Writes GROWTH.md and a chart for each into --out. Loopback only, Linux only. Exit code 1: something grew faster.""",
    )
    parser.add_argument("--only", action="append", choices=AXES, help="take only this; writes nothing into load/")
    parser.add_argument("--out", type=Path, default=ROOT / "load", metavar="FOLDER", help="(default: load/)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
