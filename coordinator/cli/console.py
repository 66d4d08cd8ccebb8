"""Where commands print: results on stdout, everything else on stderr, a failure as one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)


def fail(text: str) -> NoReturn:
    """Ends the command with exit code 1 and a sentence."""
    err.print(text, style="red", highlight=False, markup=False)
    raise typer.Exit(1)


def show_json(value: object, *, indent: int | None = 2) -> None:
    """Prints a value as JSON, which no terminal changes."""
    typer.echo(json.dumps(value, indent=indent, ensure_ascii=False))


def write_event(console: Console, name: str, data: Mapping[str, Any]) -> None:
    """An event of a task as one line."""
    from shared.rendering import clean  # with the first event: it takes 0.1 s, in which the agents work already

    shown = ("step_id", "agent", "message", "status", "seconds", "error", "why")
    words = clean(" ".join(f"{k}={text_of(data[k])}" for k in shown if data.get(k) is not None))
    console.print(f"  {name:<14} {words}", highlight=False, markup=False, soft_wrap=True)


def text_of(value: object) -> str:
    """A value as people read it: numbers with two decimals at the most, nothing for None."""
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> RenderableType:
    """The rows' values under their titles, as text that no terminal obeys; `columns` are names and titles."""
    from shared.rendering import clean  # most commands print no table

    if not rows:
        return "None."
    shown = Table(box=None)
    for title in columns.values():
        shown.add_column(title, overflow="fold", no_wrap=title == "task")  # an id is there to be copied
    for row in rows:
        shown.add_row(*(Text(clean(text_of(row.get(name)))) for name in columns))
    return shown
