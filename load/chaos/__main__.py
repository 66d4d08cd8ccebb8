"""`python -m load.chaos`: breaks a compose project fault by fault and prints each figure beside what is demanded."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from load.chaos.card import Card
from load.chaos.elsewhere import ELSEWHERE
from load.chaos.engine import CannotPlay, Refused
from load.chaos.fault import Fault
from load.chaos.limits import recall, remember
from load.chaos.own import DEFAULT, remove_left, started
from load.chaos.played import PLAYED
from load.chaos.project import Project
from load.chaos.signals import end_in_order, limited, undisturbed
from load.figures.figure import Figure
from load.processes.programs import ROOT

SHORT = (1, 11, 34, 40)


def main() -> int:
    given = _parse_arguments()
    if given.list:
        for number, fault in PLAYED.items():
            print(f"{number:>2}  {fault.name}: {fault.how}")
        for number, other in ELSEWHERE.items():
            print(f"{number:>2}  {other}")
        return 0
    say = Console(stderr=True, highlight=False).print
    end_in_order()
    card = Card(given.file if not given.project else f"project {given.project}")
    try:
        with _foreign(given.project) if given.project else _own(given.image, given.file) as project:
            for number in given.only:
                say(f"{number:>2} {escape(PLAYED[number].name)} …")
                _play(number, PLAYED[number], project, card)
    except Refused as exc:
        sys.exit(f"{exc}")
    except KeyboardInterrupt:
        sys.exit("Ended by Ctrl-C; all is put back.")
    return card.show(as_json=given.json, as_markdown=given.markdown)


def _play(number: int, fault: Fault, project: Project, card: Card) -> None:
    """Plays one fault within its time, and puts all back."""
    began = time.monotonic()
    try:
        with limited(fault.seconds):
            found = list(fault.play(project))
    except CannotPlay as exc:
        card.cannot_play(number, fault.name, f"{exc}")
        found = []
    except Exception as exc:  # a fault that breaks off costs its own row of the card, never the others'
        project.release()
        found = [Figure(" ".join(f"broke off: {type(exc).__name__} {exc}".split())[:300], 1.0, "", target=0.0)]
    finally:
        with undisturbed(later=True):
            project.put_back()
    back = project.wait_serving()
    if back > 30:
        found.append(Figure("all serve again, after it was put back", back, "s", target=30.0))
    took = time.monotonic() - began
    card.add(number, fault.name, found, took)
    missed = [figure.name for figure in found if figure.ok is False]
    print(f"   {took:.0f} s{', missed: ' if missed else ''}{', '.join(missed)}", file=sys.stderr)


@contextlib.contextmanager
def _own(image: str, file: str) -> Iterator[Project]:
    for name in remove_left():
        print(f"Removed {name}, which a killed run had left.", file=sys.stderr)
    with started(image, file) as project:
        yield project


@contextlib.contextmanager
def _foreign(name: str) -> Iterator[Project]:
    """A running project; what an earlier run has left in it is put back first."""
    project = Project(name, api_key=os.environ.get("API_KEY"))
    recall(name)
    project.put_back()
    project.release()
    if project.wait_serving() == float("inf"):
        healthy = ", ".join(project.list_healthy()) or "none"
        sys.exit(f"The agents of {name!r} are not healthy; healthy: {healthy}.")
    remember(name, project.list_containers())
    try:
        yield project
    finally:
        with undisturbed():
            project.put_back()
            project.release()
            recall(name)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m load.chaos", description=__doc__)
    parser.add_argument("--image", default="muster:latest", help="of a project of its own (default: %(default)s)")
    parser.add_argument("--file", default=DEFAULT, help="compose file of a project of its own (default: %(default)s)")
    parser.add_argument("--project", help="break this running project; its API key is read from API_KEY")
    parser.add_argument("--yes-break-it", action="store_true", help="needed with --project")
    parser.add_argument("--only", type=_parse_numbers, metavar="N,N", help="only these faults (default: all)")
    parser.add_argument("--short", action="store_true", help=f"only {', '.join(map(str, SHORT))}")
    parser.add_argument("--list", action="store_true", help="print the faults and how each is played, and end")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print Markdown")
    given = parser.parse_args()
    if given.project and not given.yes_break_it:
        parser.error(f"--project {given.project} would crash and cut off its containers; add --yes-break-it.")
    if not (ROOT / given.file).is_file():
        parser.error(f"--file {given.file} is not there.")
    given.only = given.only or (SHORT if given.short else tuple(PLAYED))
    return given


def _parse_numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list like 1,5,41") from None
    for number in numbers:
        if number not in PLAYED:
            raise argparse.ArgumentTypeError(f"{number}: {ELSEWHERE.get(number, 'there is no such fault')}")
    return numbers


if __name__ == "__main__":
    sys.exit(main())
