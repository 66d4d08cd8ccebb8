"""Calls summed up: success, percentiles, tasks a second, and why the others failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, quantiles

from load.driving.calls import Call

MOST = 0.95  # of the answers: the rest are stragglers


@dataclass(frozen=True)
class BenchRow:
    """One step of the search, or one stretch of a scenario.

    `x` is what it is drawn at (callers, or seconds since the beginning). Latencies are seconds over all tasks that the
    coordinator took, whatever became of them; None when it took none. `per_second` counts completed tasks,
    `carried_per_second` all that it took.
    """

    label: str
    x: float
    seconds: float
    tasks: int
    completed: int
    per_second: float
    carried_per_second: float
    average: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    culprits: Mapping[str, int] = field(default_factory=dict)
    retry_after: float = 0.0

    @property
    def success_percent(self) -> float:
        return 100 * self.completed / self.tasks if self.tasks else 0.0


def compute_percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Computes p50, p95 and p99, interpolated between the nearest values; raises ValueError without values."""
    if not values:
        raise ValueError("No values, no percentiles.")
    if len(values) == 1:
        return values[0], values[0], values[0]
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]


def sum_up(
    calls: Collection[Call],
    *,
    label: str,
    x: float,
    began: float,
    seconds: float,
    among: Collection[Call] | None = None,
) -> BenchRow:
    """Sums up the calls of a stretch that began at `began` and took `seconds`.

    Rates are of answers: over the time until 95 % of these calls had theirs, or until the end of the stretch if that is
    later; so neither the queue that a short stretch leaves behind nor one straggler bends them. With `among`, the calls
    of all stretches, they are what was answered within this one, whenever it had begun.
    """
    carried = [call for call in calls if call.carried]
    times = [call.seconds for call in carried]
    p50, p95, p99 = compute_percentiles(times) if times else (None, None, None)
    until = began + seconds if among is not None else max(began + seconds, _find_end(carried))
    answered = [call for call in (calls if among is None else among) if began < call.began + call.seconds <= until]
    span = until - began
    return BenchRow(
        label=label,
        x=x,
        seconds=seconds,
        tasks=len(calls),
        completed=sum(call.ok for call in calls),
        per_second=sum(call.ok for call in answered) / span if span > 0 else 0.0,
        carried_per_second=sum(call.carried for call in answered) / span if span > 0 else 0.0,
        average=fmean(times) if times else None,
        p50=p50,
        p95=p95,
        p99=p99,
        reasons=dict(Counter(call.reason for call in calls if not call.ok).most_common()),
        culprits=dict(Counter(name for call in calls for name in call.culprits).most_common()),
        retry_after=max((call.retry_after for call in calls), default=0.0),
    )


def _find_end(calls: Collection[Call]) -> float:
    """Returns when 95 % of the calls had their answer."""
    ends = sorted(call.began + call.seconds for call in calls)
    return ends[int(MOST * (len(ends) - 1))] if ends else 0.0
