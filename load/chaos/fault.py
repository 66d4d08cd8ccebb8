"""A fault as a value: what it is, how it is played, and the figures that come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from load.chaos.project import Project
from load.figures.figure import Figure


@dataclass(frozen=True)
class Fault:
    """`play` breaks something and returns its figures; `how` says by what means; it has `seconds` in all."""

    name: str
    how: str
    play: Callable[[Project], Sequence[Figure]]
    seconds: float = 60.0


def at_most(name: str, value: float, target: float, unit: str = "") -> Figure:
    return Figure(name, float(value), unit, target=float(target))


def at_least(name: str, value: float, target: float, unit: str = "") -> Figure:
    return Figure(name, float(value), unit, target=float(target), at_least=True)


def holds(name: str, value: bool) -> Figure:
    """1 where it is so, as it must be."""
    return at_least(name, float(value), 1.0)
