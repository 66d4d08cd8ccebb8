"""The search for the knee: more callers step by step until something gives."""

from __future__ import annotations

from collections.abc import Sequence

from load.bench import Bench
from load.findings import Findings
from load.knee import Knee, broke, knee, suggestion
from load.observed import Observed
from load.reasons import levers, reasons
from load.rows import Row


async def search(bench: Bench) -> Findings:
    """What was found, also when it was stopped early."""
    rows: list[Row] = []
    seen: list[Observed] = []
    for count in bench.options.steps:
        if bench.limits.over:
            break
        row, observed = await bench.step(count)
        if not row.tasks:
            break
        rows.append(row)
        seen.append(observed)
        if broke(rows, min_success=bench.options.min_success):
            break
    return findings(bench.options.url, rows, seen, min_success=bench.options.min_success, notes=bench.notes)


def findings(
    url: str, rows: Sequence[Row], seen: Sequence[Observed], *, min_success: float, notes: Sequence[str] = ()
) -> Findings:
    """What rows of rising concurrency mean."""
    if not rows:
        return Findings("knee", url, False, "No task ended; nothing was measured.", "at once", (), notes=notes)
    found = knee(rows, min_success=min_success)
    at = rows[found.at] if found.at is not None else None
    return Findings(
        scenario="knee",
        url=url,
        ok=rows[0].success_percent >= min_success,
        verdict=verdict(rows, found, min_success=min_success),
        axis="at once",
        rows=rows,
        observed=seen,
        knee=at,
        reasons=reasons(rows[-1]),
        levers=levers(rows[-1], seen[-1], first=seen[0], broke=found.broke),
        suggestion=suggestion(at, seen[found.at]) if at is not None and found.at is not None else None,
        notes=notes,
        marks={at.x: "knee"} if at is not None else {},
    )


def verdict(rows: Sequence[Row], found: Knee, *, min_success: float) -> str:
    """Where it broke and where the knee is, in two sentences."""
    last, first = rows[-1], rows[0]
    if found.at is None:
        return f"It broke in the first step: {last.success_percent:.1f} % completed with {last.label} at once."
    at = rows[found.at]
    where = f"The knee is at {at.label} at once: {at.per_second:.1f} tasks/s" + (
        f", p95 {at.p95:.3f} s." if at.p95 is not None else "."
    )
    if found.broke == "success":
        under = f"{last.success_percent:.1f} % completed, under {min_success:g} %"
        return f"It broke with {last.label} at once: {under}. {where}"
    if found.broke == "latency" and last.p95 and first.p95:
        return (
            f"Latency bent with {last.label} at once: p95 is {last.p95 / first.p95:.1f} times that of {first.label}, "
            f"while tasks/s no longer grew. {where}"
        )
    return f"Nothing broke up to {last.label} at once. {where}"
