"""PURE: bar charts as figures that a template draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600.0, 120.0  # of the field in which the bars stand, in units of the drawing


@dataclass(frozen=True)
class Piece:
    """One piece of a bar."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bar:
    """A bar of pieces, and what it says in words."""

    pieces: tuple[Piece, ...]
    x: float
    width: float
    said: str


@dataclass(frozen=True)
class Chart:
    """A chart: `most` is what its upper edge means, in words; `kinds` its legend."""

    title: str
    said: str
    bars: tuple[Bar, ...]
    most: str
    kinds: tuple[tuple[str, str], ...]
    empty: bool


def stack(
    title: str,
    kinds: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[float]],
    *,
    names: Sequence[str],
    say: Callable[[float], str],
    said: str,
) -> Chart:
    """Each row becomes a bar, piled up of its figures, one of each kind; `say` puts a figure into words."""
    most = _round_up(max((sum(row) for row in rows), default=0.0))
    step = WIDTH / max(1, len(rows))
    bars = []
    for n, (row, name) in enumerate(zip(rows, names, strict=True)):
        pieces, below = [], HEIGHT
        for (kind, _), figure in zip(kinds, row, strict=True):
            height = HEIGHT * figure / most if most else 0.0
            if height > 0:
                below -= height
                pieces.append(
                    Piece(kind, round(n * step + 0.75, 2), round(below, 2), round(step - 1.5, 2), round(height, 2))
                )
        words = ", ".join(f"{word} {say(figure)}" for (_, word), figure in zip(kinds, row, strict=True) if figure)
        bars.append(Bar(tuple(pieces), round(n * step, 2), round(step, 2), f"{name}: {words or 'nothing'}"))
    return Chart(title, said, tuple(bars), say(most), tuple(kinds), empty=most == 0)


def _round_up(figure: float) -> float:
    """The next figure that is 1, 2 or 5 times a power of ten."""
    if figure <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(figure))
    return next(round(m * power, 12) for m in (1, 2, 5, 10) if m * power >= figure * (1 - 1e-9))
