"""The findings as one HTML page with charts as inline SVG, for light and dark screens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from load.display.terminal import COLUMNS, format_cells
from load.driving.options import Options
from load.findings.findings import BenchFindings
from load.findings.rows import BenchRow

WIDTH, HEIGHT = 760, 205
LEFT, RIGHT, TOP, BOTTOM = 58, 86, 22, 34
LABEL_PIXELS = 15  # between two names at the right
MOST_LABELS = 8  # below the x axis
LOGARITHMIC_FROM = 25.0  # times the smallest value


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    title: str


@dataclass(frozen=True)
class ChartLine:
    """One series: its points, and its name at the height of its end."""

    name: str
    kind: str
    points: Sequence[Point]
    name_y: float

    @property
    def path(self) -> str:
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True)
class Panel:
    """One chart. Ticks and marks are (position, text)."""

    title: str
    lines: Sequence[ChartLine]
    y_ticks: Sequence[tuple[float, str]]
    x_ticks: Sequence[tuple[float, str]]
    marks: Sequence[tuple[float, str]]
    limit: tuple[float, str] | None = None


def render_page(found: BenchFindings, options: Options) -> str:
    """Returns the whole page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    rows = [(row, format_cells(row), row.success_percent < options.min_success) for row in found.rows]
    return environment.get_template("page.html").render(
        found=found,
        options=options,
        panels=build_panels(found, min_success=options.min_success),
        columns=COLUMNS,
        rows=rows,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
    )


def build_panels(found: BenchFindings, *, min_success: float) -> list[Panel]:
    """Builds charts of rate, latency and success over the same x axis; none without rows."""
    if not found.rows:
        return []
    frame = _Frame(found)
    rate = {"tasks/s": ("rate", lambda row: row.per_second)}
    latency = {
        "p99": ("p99", lambda row: row.p99),
        "p95": ("p95", lambda row: row.p95),
        "p50": ("p50", lambda row: row.p50),
    }
    success = {"success": ("success", lambda row: row.success_percent)}
    return [
        frame.build_panel("Tasks completed a second", rate, unit=""),
        frame.build_panel("Latency of a task", latency, unit=" s", may_be_logarithmic=True),
        frame.build_panel("Tasks that completed", success, unit=" %", top=100.0, limit=min_success),
    ]


_Series = dict[str, tuple[str, Callable[[BenchRow], float | None]]]


class _Frame:
    """The x axis that all charts share: steps side by side, or time."""

    def __init__(self, found: BenchFindings) -> None:
        rows = found.rows
        inside = WIDTH - LEFT - RIGHT
        if found.axis == "seconds":
            end = rows[-1].x + rows[-1].seconds
            self._xs = [LEFT + inside * (row.x + row.seconds / 2) / end for row in rows]
            self._marks = [(LEFT + inside * min(1.0, x / end), text) for x, text in found.marks.items()]
        else:
            self._xs = [LEFT + inside * (n + 0.5) / len(rows) for n in range(len(rows))]
            at = {row.x: x for row, x in zip(rows, self._xs, strict=True)}
            self._marks = [(at[x], text) for x, text in found.marks.items() if x in at]
        every = math.ceil(len(rows) / MOST_LABELS)
        self._ticks = [(x, row.label) for n, (x, row) in enumerate(zip(self._xs, rows, strict=True)) if n % every == 0]
        self._rows = rows

    def build_panel(
        self,
        title: str,
        series: _Series,
        *,
        unit: str,
        top: float | None = None,
        limit: float | None = None,
        may_be_logarithmic: bool = False,
    ) -> Panel:
        values = [v for _, read in series.values() for row in self._rows if (v := read(row)) is not None]
        positive = [value for value in values if value > 0]
        logarithmic = may_be_logarithmic and len(positive) > 1 and max(positive) > LOGARITHMIC_FROM * min(positive)
        ticks = (
            choose_logarithmic_ticks(min(positive), max(positive))
            if logarithmic
            else choose_ticks(top or max(values, default=1.0))
        )
        low, high = ticks[0], ticks[-1]

        def place_y(value: float) -> float:
            if logarithmic:
                share = math.log(max(value, low) / low) / math.log(high / low)
            else:
                share = (value - low) / (high - low)
            return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

        lines = []
        for name, (kind, read) in series.items():
            points = [
                Point(x, place_y(value), f"{row.label}: {name} {value:.4g}{unit}")
                for x, row in zip(self._xs, self._rows, strict=True)
                if (value := read(row)) is not None
            ]
            if points:
                lines.append(ChartLine(name, kind, points, points[-1].y))
        return Panel(
            title=title + (" (logarithmic)" if logarithmic else ""),
            lines=_spread(lines),
            y_ticks=[(place_y(tick), f"{tick:g}{unit}") for tick in ticks],
            x_ticks=self._ticks,
            marks=self._marks,
            limit=(place_y(limit), f"{limit:g} %") if limit is not None else None,
        )


def choose_ticks(top: float) -> list[float]:
    """Returns four or five round ticks from 0 to at least `top`."""
    if top <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(top / 4))
    step = next(power * n for n in (1, 2, 2.5, 5, 10) if power * n * 4 >= top * 0.999)
    return [step * n for n in range(math.ceil(top / step * 0.999) + 1)]


def choose_logarithmic_ticks(low: float, high: float) -> list[float]:
    """Returns the ticks of a logarithmic axis (1, 3, 10, 30 …) that enclose `low` and `high`."""
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{n}e{exponent}") for exponent in exponents for n in (1, 3)]
    first = max(n for n, tick in enumerate(ticks) if tick <= low)
    last = min(n for n, tick in enumerate([*ticks, math.inf]) if tick >= high)
    return ticks[first : last + 1]


def _spread(lines: Sequence[ChartLine]) -> list[ChartLine]:
    """Moves names apart where lines end close to each other, and none below the axis."""
    placed: list[ChartLine] = []
    most = float(HEIGHT - BOTTOM)
    for line in sorted(lines, key=lambda line: -line.name_y):
        y = min(line.name_y, most)
        placed.append(ChartLine(line.name, line.kind, line.points, y))
        most = y - LABEL_PIXELS
    return placed
