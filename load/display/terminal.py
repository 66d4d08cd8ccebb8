"""A run on a terminal, as a live table, or elsewhere as plain lines; at the end its findings."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from load.driving.sending import Collected
from load.findings.findings import BenchFindings
from load.findings.rows import BenchRow, compute_percentiles

LATELY = 500  # calls that the running p95 is taken over
COLUMNS = ("tasks", "success", "tasks/s", "average", "p50", "p95", "p99")


class Display:
    """Rows as they are measured, and a line for the one that is being measured; `with` shows and ends it."""

    def __init__(self, console: Console, *, title: str, axis: str, min_success: float) -> None:
        self.console = console
        self._title = title
        self._axis = axis
        self._min_success = min_success
        self._rows: list[BenchRow] = []
        self._now: Text = Text("")
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(self._render(), console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        else:
            self.console.print(self._title, markup=False, highlight=False)
            self.console.print("  ".join([f"{self._axis:>14}", *(f"{name:>8}" for name in COLUMNS)]), markup=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show_running(self, label: str, seen: Collected, *, share: float) -> None:
        """Shows the progress of the step that is being measured; `share` of its time has passed."""
        lately = seen.calls[-LATELY:]
        times = [call.seconds for call in lately if call.carried]
        success = f"{sum(call.ok for call in lately) / len(lately):.0%}" if lately else "–"
        p95 = f"{compute_percentiles(times)[1]:.3f} s" if times else "–"
        bar = "━" * round(20 * min(1.0, share))
        self._now = Text.assemble(
            (f"{label:>14}  ", "bold"),
            (bar, "cyan"),
            (f"{'─' * (20 - len(bar))}  ", "dim"),
            f"{len(seen.calls):,} of {seen.started:,} answered, lately {success} completed, p95 {p95}",
        )
        self._refresh()

    def add_row(self, row: BenchRow) -> None:
        """Adds a row that has been measured."""
        self._rows.append(row)
        self._now = Text("")
        if self._live is None:
            cells = "  ".join([f"{row.label:>14}", *(f"{cell:>8}" for cell in format_cells(row))])
            self.console.print(cells, markup=False, highlight=False)
        self._refresh()

    def note(self, text: str) -> None:
        """Prints a sentence about something that happened."""
        self.console.print(text, markup=False, highlight=False, style="yellow")

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._render())

    def _render(self) -> RenderableType:
        return Group(_build_table(self._title, self._axis, self._rows, self._min_success), self._now)


def show(console: Console, found: BenchFindings, *, min_success: float) -> None:
    """Prints the findings."""
    if console.is_terminal:  # elsewhere the rows stand there already
        console.print(_build_table(f"{found.scenario} · {found.url}", found.axis, found.rows, min_success, found.knee))
    console.print()
    console.print(found.verdict, style="bold green" if found.ok else "bold red", highlight=False, markup=False)
    for fact in found.facts:
        console.print(f"  {fact.name}: {fact.shown}", highlight=False, markup=False)
    _print_list(console, "Why", found.reasons)
    _print_list(console, "What moves it", [f"{lever.setting}: {lever.why}" for lever in found.levers])
    if found.suggestion is not None:
        _print_list(console, "Suggested for .env", [found.suggestion.why])
        console.print(f"  [bold]{found.suggestion.env_line}[/]", highlight=False)
    for note in found.notes:
        console.print(f"[dim]{escape(note)}[/]", highlight=False)


def format_cells(row: BenchRow) -> list[str]:
    """Returns the cells of a row as text, in the order of COLUMNS."""
    times = [f"{value:.3f} s" if value is not None else "–" for value in (row.average, row.p50, row.p95, row.p99)]
    return [f"{row.tasks:,}", f"{row.success_percent:.1f} %", f"{row.per_second:.1f}", *times]


def _print_list(console: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        console.print(f"\n[bold]{title}[/]")
    for line in lines:
        console.print(f"  {escape(line)}", highlight=False)


def _build_table(
    title: str, axis: str, rows: Sequence[BenchRow], min_success: float, knee: BenchRow | None = None
) -> Table:
    table = Table(title=escape(title), title_justify="left")
    for column in (axis, *COLUMNS):
        table.add_column(column, justify="right")
    for row in rows:
        bad = row.tasks > 0 and row.success_percent < min_success
        label = f"{row.label} ◂ knee" if row == knee else row.label
        table.add_row(label, *format_cells(row), style="red" if bad else "bold" if row == knee else None)
    return table
