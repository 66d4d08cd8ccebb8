"""Rows of names with a dot for each value, its spread as a line, on logarithmic axes side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

NAMES, WIDTH, GAP, RIGHT = 190, 290, 40, 60
TOP, ROW, BOTTOM = 58, 24, 34


@dataclass(frozen=True)
class DotPanel:
    """`values` are (median, least, most) of each row, above 0."""

    title: str
    values: Sequence[tuple[float, float, float]]


@dataclass(frozen=True)
class _Dot:
    y: float
    x: float
    least: float
    most: float
    shown: str
    kind: str


def draw(title: str, names: Sequence[tuple[str, str]], panels: Sequence[DotPanel]) -> str:
    """Returns the SVG; `names` are the rows with their kind: ours, theirs or limit."""
    ys = [TOP + ROW * (n + 0.5) for n in range(len(names))]
    frames = []
    for n, panel in enumerate(panels):
        left = NAMES + n * (WIDTH + GAP + RIGHT)
        some = [value for three in panel.values for value in three if value > 0]
        low = math.floor(math.log10(min(some, default=1)))
        high = max(low + 1, math.ceil(math.log10(max(some, default=10))))

        def place_x(value: float, left: int = left, low: int = low, high: int = high) -> float:
            return left + WIDTH * (math.log10(max(value, 10.0**low)) - low) / (high - low)

        dots = [
            _Dot(y, place_x(middle), place_x(least), place_x(most), _format(middle), kind)
            for y, (middle, least, most), (_, kind) in zip(ys, panel.values, names, strict=True)
            if middle > 0
        ]
        ticks = [(place_x(10.0**power), f"{10.0**power:,g}") for power in range(low, high + 1)]
        frames.append((panel.title, left, dots, ticks))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("dots.svg.j2").render(
        title=title,
        names=[(y, name, kind) for y, (name, kind) in zip(ys, names, strict=True)],
        frames=frames,
        width=NAMES + len(panels) * (WIDTH + GAP + RIGHT),
        height=TOP + ROW * len(names) + BOTTOM,
        top=TOP,
        bottom=TOP + ROW * len(names),
        names_end=NAMES - 14,
    )


def _format(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
