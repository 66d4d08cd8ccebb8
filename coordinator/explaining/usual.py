"""PURE: how long an agent's steps usually take, from those that completed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAST = 5  # steps, before anything is usual


@dataclass(frozen=True)
class Usual:
    """Seconds of an agent's steps: half of them took at most `p50`, and 95 % of them `p95`."""

    p50: float
    p95: float


def measure_usual(seconds: Sequence[float]) -> Usual | None:
    """What is usual by these; None where they are too few."""
    if len(seconds) < LEAST:
        return None
    ordered = sorted(seconds)
    return Usual(ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))])
