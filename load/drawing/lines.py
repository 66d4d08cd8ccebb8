"""A chart of lines on two logarithmic axes, with a dashed line that shows what linear would be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 110, 56, 46
LABEL_PIXELS = 15  # between two names at the right
KINDS = ("first", "second", "third")


@dataclass(frozen=True)
class Series:
    """`points` are (x, y), x rising; y above 0. An x of 0 is drawn half a decade left of the least above 0."""

    name: str
    points: Sequence[tuple[float, float]]


def draw(title: str, series: Sequence[Series], *, x: str, y: str) -> str:
    """Returns the SVG; `x` and `y` name the axes with their units."""
    series = [one for one in series if one.points]
    xs = sorted({point[0] for one in series for point in one.points})
    ys = [point[1] for one in series for point in one.points]
    positive = [value for value in xs if value > 0] or [1.0]
    zero = positive[0] / 10**0.5
    first = zero if xs and xs[0] <= 0 else positive[0]
    bottom, top = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))

    def place_x(value: float) -> float:
        share = math.log(max(value, first) / first) / max(1e-9, math.log(positive[-1] / first))
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def place_y(value: float) -> float:
        share = math.log(value / bottom) / max(1e-9, math.log(top / bottom))
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    lines = [[(place_x(a), place_y(b), f"{a:,.10g}: {b:,.3g}") for a, b in one.points] for one in series]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("lines.svg.j2").render(
        title=title,
        x=x,
        y=y,
        lines=list(zip(KINDS, [one.name for one in series], lines, _place_names(lines), strict=False)),
        guide=[(place_x(a), place_y(b)) for a, b in _find_linear(series, bottom) or ()],
        x_ticks=_thin_out([(place_x(value), f"{value:,.10g}") for value in xs]),
        y_ticks=[(place_y(value), f"{value:,g}") for value in _list_decades(bottom, top)],
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
    )


def _list_decades(low: float, high: float) -> list[float]:
    """Returns 1, 3, 10, 30 … from `low` to `high`, both powers of ten."""
    powers = range(round(math.log10(low)), round(math.log10(high)) + 1)
    return [value for power in powers for value in (10.0**power, 3 * 10.0**power) if value <= high]


def _thin_out(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Drops the ticks whose text would run into the one before."""
    kept: list[tuple[float, str]] = []
    for at, shown in ticks:
        if not kept or at - kept[-1][0] > 7 * len(shown) + 8:
            kept.append((at, shown))
    return kept


def _place_names(lines: Sequence[Sequence[tuple[float, float, str]]]) -> list[float]:
    """Places each name at its line's end, moved apart where ends are close to each other."""
    order = sorted(range(len(lines)), key=lambda n: lines[n][-1][1])
    at = {n: lines[n][-1][1] for n in order}
    for above, below in pairwise(order):
        at[below] = max(at[below], at[above] + LABEL_PIXELS)
    return [at[n] for n in range(len(lines))]


def _find_linear(series: Sequence[Series], bottom: float) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Returns the line on which the cost of the highest line's end would grow in proportion to the size."""
    ends = [one.points[-1] for one in series if one.points[-1][0] > 0]
    if not ends:
        return None
    x, y = max(ends, key=lambda end: end[1])
    least = min(a for one in series for a, _ in one.points if a > 0)
    begin = max(least, x * bottom / y)
    return (begin, y * begin / x), (x, y)
