"""One growing thing and what a task cost at each size; whether that is linear or better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

LINEAR = 1.1  # a slope of 1 on two logarithmic axes is linear; the rest is what noise may add
AMONG = 3  # the largest sizes decide: there the constant part counts least


@dataclass(frozen=True)
class GrowthLine:
    """`points` are (size, processor time of the coordinator a task in ms), sizes rising."""

    name: str
    points: Sequence[tuple[float, float]]

    @property
    def slope(self) -> float | None:
        """How fast the cost grows at the largest sizes: 0 not at all, 1 linear, 2 quadratic; None for too few."""
        last = [(math.log(x), math.log(y)) for x, y in self.points[-AMONG:] if x > 0 and y > 0]
        if len(last) < 2:
            return None
        middle_x, middle_y = fmean(x for x, _ in last), fmean(y for _, y in last)
        return sum((x - middle_x) * (y - middle_y) for x, y in last) / sum((x - middle_x) ** 2 for x, _ in last)


@dataclass(frozen=True)
class Growth:
    """One chart: `x` says what grows, with its unit; `how` how it was measured; `note` what fell short."""

    key: str
    title: str
    x: str
    how: str
    lines: Sequence[GrowthLine]
    note: str | None = None

    @property
    def rows(self) -> list[tuple[float, list[float | None]]]:
        """Each size with the cost on every line, None where it was not measured."""
        costs = [dict(line.points) for line in self.lines]
        return [(size, [cost.get(size) for cost in costs]) for size in sorted(set().union(*costs))]
