"""Calls summed up: success, percentiles, tasks a second, and why the others failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, quantiles

from load.calls import Call


@dataclass(frozen=True)
class Row:
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


def percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """p50, p95 and p99, between the two nearest values where none is exact; raises ValueError for no values."""
    if not values:
        raise ValueError("No values, no percentiles.")
    if len(values) == 1:
        return values[0], values[0], values[0]
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]


def row(calls: Collection[Call], *, label: str, x: float, began: float, seconds: float, whole: bool = True) -> Row:
    """Sums up calls of a stretch that began at `began` and took so long.

    Rates: with `whole`, a task that reaches over the end counts with the share of its time that lay inside, so that
    long tasks in a short stretch do not count as more than there was time for. Without, as many as were begun.
    """
    carried = [call for call in calls if call.carried]
    completed = [call for call in calls if call.ok]
    times = [call.seconds for call in carried]
    p50, p95, p99 = percentiles(times) if times else (None, None, None)
    rates = [
        (sum(_share(call, began, began + seconds) for call in some) if whole else len(some)) / seconds
        if seconds > 0
        else 0.0
        for some in (completed, carried)
    ]
    return Row(
        label=label,
        x=x,
        seconds=seconds,
        tasks=len(calls),
        completed=len(completed),
        per_second=rates[0],
        carried_per_second=rates[1],
        average=fmean(times) if times else None,
        p50=p50,
        p95=p95,
        p99=p99,
        reasons=dict(Counter(call.reason for call in calls if not call.ok).most_common()),
        culprits=dict(Counter(name for call in calls for name in call.culprits).most_common()),
        retry_after=max((call.retry_after for call in calls), default=0.0),
    )


def _share(call: Call, began: float, until: float) -> float:
    """How much of a call's time lay inside."""
    ended = call.began + call.seconds
    if ended <= until and call.began >= began:
        return 1.0
    inside = min(ended, until) - max(call.began, began)
    return max(0.0, inside / call.seconds) if call.seconds else 0.0
