"""Where commands print: results on stdout, everything else on stderr, a failure as one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from shared.report.safe import clean

PIPE_COLUMNS = 10_000  # where no terminal reads, nothing is broken into lines
REFUSED, WRONG, UNANSWERED, AWAY, STOPPED = 1, 2, 3, 4, 130  # exit codes, as docs/cli.md explains them

out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
err = Console(stderr=True, soft_wrap=True)


def fail(text: str, *, code: int = REFUSED) -> NoReturn:
    """Ends the command with a sentence."""
    err.print(text, style="red", highlight=False, markup=False)
    raise typer.Exit(code)


def show_json(value: object, *, indent: int | None = 2) -> None:
    """Prints a value as JSON, which no terminal changes."""
    typer.echo(json.dumps(value, indent=indent, ensure_ascii=False))


def write_event(console: Console, name: str, data: Mapping[str, Any]) -> None:
    """An event of a task as one line."""
    shown = ("step_id", "agent", "message", "status", "seconds", "error", "why")
    words = clean(" ".join(f"{k}={text_of(data[k])}" for k in shown if data.get(k) is not None))
    console.print(f"{name:<14} {words}".rstrip(), highlight=False, markup=False, soft_wrap=True)


def text_of(value: object) -> str:
    """A value as people read it: numbers with two decimals at the most, nothing for None."""
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)


def age(since: str, *, now: datetime | None = None) -> str:
    """How long ago a time was, in the largest unit that fits: `42s`, `7m`, `3h`, `12d`."""
    seconds = max(0, int(((now or datetime.now(UTC)) - datetime.fromisoformat(since)).total_seconds()))
    unit, each = next(((unit, each) for unit, each in _UNITS if seconds >= each), ("s", 1))
    return f"{seconds // each}{unit}"


_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))


def show_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, cut: str = "") -> None:
    """Prints the rows' values under their titles, as text that no terminal obeys; says so where there are none.

    `columns` are names and titles. A row is one line: the column `cut` is shortened where the terminal is narrow.
    """
    if not rows:
        err.print("None.")
        return
    out.print(table(rows, columns, cut=cut))


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, cut: str = "") -> RenderableType:
    """The rows as `show_table` prints them."""
    shown = Table(box=None, pad_edge=False)
    for name, title in columns.items():
        short = name == cut and out.is_terminal  # what a program reads is whole
        shown.add_column(title, overflow="ellipsis" if short else "fold", no_wrap=short or name.endswith("_id"))
    for row in rows:
        shown.add_row(*(Text(clean(text_of(row.get(name)))) for name in columns))
    return shown
