"""Figures printed as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from load.figures.figure import Figure


def show(title: str, figures: Sequence[Figure], notes: Sequence[str], *, as_json: bool) -> int:
    """Prints the figures as a table or as one JSON object; returns the exit code, 1 if a target was missed."""
    if as_json:
        rows = [{**asdict(figure), "ok": figure.ok} for figure in figures]
        print(json.dumps({"title": title, "notes": list(notes), "figures": rows}, indent=2))
    else:
        _print_table(title, figures, notes)
    return 1 if any(figure.ok is False for figure in figures) else 0


def _print_table(title: str, figures: Sequence[Figure], notes: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in ("figure", "measured", "target", ""):
        table.add_column(column, justify="right" if column in ("measured", "target") else "left")
    marks = {True: "[green]pass[/]", False: "[red]MISS[/]", None: ""}
    for figure in figures:
        asked = "" if figure.target is None else f"{'>=' if figure.at_least else '<='} {figure.target:g} {figure.unit}"
        table.add_row(figure.name, f"{figure.value:,.4g} {figure.unit}", asked, marks[figure.ok])
    console = Console()
    console.print(table)
    for note in notes:
        console.print(f"[dim]{note}[/]")
