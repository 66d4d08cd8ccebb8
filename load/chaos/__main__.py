"""`python -m load.chaos`: breaks a compose project fault by fault and prints each figure beside what is demanded."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import replace

from rich.console import Console

from load.chaos.elsewhere import ELSEWHERE
from load.chaos.faults import PLAYED
from load.chaos.project import WORKERS, Project, remove, start
from load.figures.figure import Figure
from load.figures.table import show

SHORT = (1, 5, 41)


def main() -> int:
    given = _parse_arguments()
    say = Console(stderr=True).print
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended by SIGTERM."))  # so that all is put back then, too
    project = Project(given.project) if given.project else None
    if project is None:
        say("Starting a project of its own …")
        project = start(given.image)
    figures: list[Figure] = []
    notes: list[str] = []
    try:
        project.put_back()  # what an earlier run has left when it was killed
        if not set(WORKERS) <= set(project.list_healthy()) and project.wait_serving() == float("inf"):
            sys.exit(f"The agents of {project.name!r} are not healthy: {', '.join(project.list_healthy()) or 'none'}.")
        for number in given.faults:
            name, play = PLAYED[number]
            say(f"{number:>2} {name} …")
            try:
                found = play(project)
            except PermissionError as exc:
                notes.append(f"{number} {name}: cannot be played on this host: {exc}.")
                continue
            finally:
                project.put_back()
                project.wait_serving()
            figures += [replace(figure, name=f"{number:>2} {name}: {figure.name}") for figure in found]
    finally:
        if given.project:
            project.put_back()
        else:
            remove(project, given.image)
    notes += [f"{number} {name}: {test or 'nowhere yet'}" for number, (name, test) in ELSEWHERE.items()]
    title = f"Faults played: {len(given.faults)} of {len(PLAYED) + len(ELSEWHERE)}. Those below are tried elsewhere."
    return show(title, figures, notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m load.chaos", description=__doc__)
    parser.add_argument("--image", default="muster:latest", help="of a project of its own (default: %(default)s)")
    parser.add_argument("--project", help="break this running project; its API key is read from API_KEY")
    parser.add_argument("--yes-break-it", action="store_true", help="needed with --project")
    parser.add_argument("--faults", type=int, nargs="+", choices=sorted(PLAYED), help="only these (default: all)")
    parser.add_argument("--short", action="store_true", help=f"only {', '.join(map(str, SHORT))}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    if given.project and not given.yes_break_it:
        parser.error(f"--project {given.project} would crash and cut off its containers; add --yes-break-it.")
    given.faults = given.faults or (SHORT if given.short else sorted(PLAYED))
    return given


if __name__ == "__main__":
    sys.exit(main())
