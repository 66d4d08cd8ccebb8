"""Tasks that ended lately, counted by when, how, and how long they took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.journal.store import Store

STEPS_A_DECADE = 8  # classes of durations: a percentile is right to a third
EDGES = [10 ** (n / STEPS_A_DECADE) / 1_000 for n in range(8 * STEPS_A_DECADE + 1)]  # seconds, from 1 ms to a day


def _classify(what: str, first: int = 0, last: int = len(EDGES)) -> str:
    """SQL for the class of a duration, found by halves."""
    if first == last:
        return str(first)
    middle = (first + last) // 2
    below, above = _classify(what, first, middle), _classify(what, middle + 1, last)
    return f"CASE WHEN {what} < {EDGES[middle]!r} THEN {below} ELSE {above} END"


_ENDS = f"""
SELECT stretch, status, {_classify("took")}, {_classify("waited")}, count(*) FROM (
    SELECT CAST((finished_at - :since) / :width AS INTEGER) AS stretch, status, finished_at - created_at AS took,
           coalesce(started_at, finished_at) - created_at AS waited
    FROM history WHERE finished_at >= :since AND finished_at < :until
) AS ended GROUP BY 1, 2, 3, 4
"""


@dataclass
class Ends:
    """Tasks that ended within one stretch of time: by status, and by classes of what they took and waited."""

    statuses: Counter[str] = field(default_factory=Counter)
    took: Counter[int] = field(default_factory=Counter)
    waited: Counter[int] = field(default_factory=Counter)


async def count_ends(store: Store, *, since: float, width: float, stretches: int) -> list[Ends]:
    """One entry for each stretch of `width` seconds since `since` (Unix seconds)."""
    found = [Ends() for _ in range(stretches)]
    params = {"since": since, "width": width, "until": since + width * stretches}
    for n, status, took, waited, number in await store.read(_ENDS, params, aside=True):
        one = found[min(n, stretches - 1)]
        one.statuses[status] += number
        one.took[took] += number
        one.waited[waited] += number
    return found


def find_percentile(classes: Mapping[int, int], share: float) -> float | None:
    """Seconds within which this share of the tasks is, to the end of a class; 0 below 1 ms, None for no task."""
    left = share * sum(classes.values())
    for n, number in sorted(classes.items()):
        left -= number
        if left <= 1e-9 and number:
            return EDGES[min(n, len(EDGES) - 1)] if n else 0.0
    return None
