"""Where more at once stops helping, and how many tasks a coordinator should therefore run at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from load.findings.observer import Observed
from load.findings.rows import BenchRow

BENDS = 3.0  # times the first step's p95 …
GROWS = 1.10  # … while tasks/s is under this times the best so far
NEARLY = 0.95  # of the best rate: the least concurrency that reaches it is the knee
MOSTLY = 0.5  # of the samples
DEFAULT_TASKS = 64  # MAX_CONCURRENT_TASKS of a coordinator that is told nothing

Broke = Literal["success", "latency"]


@dataclass(frozen=True)
class Knee:
    """`at` is the index of the knee's row, None when the first one failed; `broke` says what ended the search."""

    at: int | None
    broke: Broke | None


@dataclass(frozen=True)
class Suggestion:
    """A value for a setting, and the reasoning."""

    max_concurrent_tasks: int
    why: str

    @property
    def env_line(self) -> str:
        return f"MAX_CONCURRENT_TASKS={self.max_concurrent_tasks}"


def find_break(rows: Sequence[BenchRow], *, min_success: float) -> Broke | None:
    """Returns why the last row is one too many (too few tasks completed, or latency bent), or None."""
    last = rows[-1]
    if last.success_percent < min_success:
        return "success"
    first, best = rows[0].p95, max((row.per_second for row in rows[:-1]), default=0.0)
    if len(rows) > 1 and first and last.p95 and last.p95 > BENDS * first and last.per_second < GROWS * best:
        return "latency"
    return None


def find_knee(rows: Sequence[BenchRow], *, min_success: float) -> Knee:
    """Finds the least concurrency with nearly the most tasks a second, among the rows before the one that broke."""
    if not rows:
        return Knee(None, None)
    why = find_break(rows, min_success=min_success)
    good = list(rows[:-1] if why else rows)
    if not good:
        return Knee(None, why)
    best = max(row.per_second for row in good)
    return Knee(next(n for n, row in enumerate(good) if row.per_second >= NEARLY * best), why)


def suggest(row: BenchRow, seen: Observed) -> Suggestion | None:
    """Computes MAX_CONCURRENT_TASKS from the row of the knee (Little's law); None when it has no rate."""
    if not row.average or not row.carried_per_second:
        return None
    inside = row.carried_per_second * row.average
    product = f"{row.carried_per_second:.1f} tasks/s x {row.average:.3f} s = {inside:.1f} tasks open at once"
    full = [agent.name for agent in seen.agents if agent.full_share >= MOSTLY]
    if seen.queued_share >= MOSTLY and not full:
        value = round_up(2 * seen.peak_running)
        return Suggestion(
            value,
            f"At the knee {product}, but only {seen.peak_running} ran and the others waited, while no agent was full: "
            f"MAX_CONCURRENT_TASKS itself held them back. Twice that is worth a try; then measure again.",
        )
    if seen.queued_share >= MOSTLY and seen.peak_running < inside:
        value = round_up(seen.peak_running)
        return Suggestion(
            value,
            f"At the knee {product}, of which {seen.peak_running} ran; more would only wait for {', '.join(full)}.",
        )
    return Suggestion(
        round_up(inside),
        f"At the knee {product} (Little's law), rounded up; more at once would wait longer and end no sooner.",
    )


def round_up(value: float) -> int:
    """Rounds up to 1, 2, 3, 4, 6, 8, 12, 16, 24, 32 …"""
    if value <= 1:
        return 1
    power = 2 ** math.floor(math.log2(value) + 1e-9)
    steps = (power, power * 3 // 2, power * 2) if power > 1 else (1, 2)
    return next(step for step in steps if step >= value - 0.05)
