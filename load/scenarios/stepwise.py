"""The search for the knee: more callers step by step until something gives twice."""

from __future__ import annotations

from collections.abc import Sequence

from load.findings.findings import BenchFindings
from load.findings.knee import DEFAULT_TASKS, Broke, Knee, Suggestion, find_break, find_knee, suggest
from load.findings.reasons import Lever, explain, find_levers
from load.findings.rows import BenchRow
from load.scenarios.bench import Bench, BenchStep


async def search(bench: Bench) -> BenchFindings:
    """Searches for the knee, also when stopped early. A step that seems to break it is measured again first."""
    steps: list[BenchStep] = []
    for count in bench.options.steps:
        if bench.limits.over:
            break
        step, why = await _measure(bench, [step.row for step in steps], count)
        if not step.row.tasks:
            break
        steps.append(step)
        if why:
            break
    return interpret(bench.options.url, steps, min_success=bench.options.min_success, notes=bench.notes)


async def _measure(bench: Bench, before: Sequence[BenchRow], count: int) -> tuple[BenchStep, Broke | None]:
    """Measures a step and judges it. A step that broke is measured once more, and the better result counts."""

    def judge(step: BenchStep) -> Broke | None:
        return find_break([*before, step.row], min_success=bench.options.min_success) if step.row.tasks else None

    step = await bench.measure_step(count)
    if judge(step) is None or bench.limits.over:
        return step, judge(step)
    again = await bench.measure_step(count)
    if not again.row.tasks:
        return step, judge(step)
    better = max(step, again, key=lambda one: (judge(one) is None, one.row.success_percent, one.row.per_second))
    if judge(better) is None:
        bench.notes.append(f"{count} at once seemed to break it, but did not when it was measured again.")
    return better, judge(better)


def interpret(url: str, steps: Sequence[BenchStep], *, min_success: float, notes: Sequence[str] = ()) -> BenchFindings:
    """Draws conclusions from steps of rising concurrency."""
    if not steps:
        return BenchFindings("knee", url, False, "No task ended; nothing was measured.", "at once", (), notes=notes)
    rows = [step.row for step in steps]
    found = find_knee(rows, min_success=min_success)
    first, last = steps[0], steps[-1]
    at = steps[found.at] if found.at is not None else None
    suggested, unsafe = (
        check_suggestion(suggest(at.row, at.seen), steps[found.at :]) if at is not None else (None, None)
    )
    moves = find_levers(last.row, last.seen, first=first.seen, broke=found.broke)
    return BenchFindings(
        scenario="knee",
        url=url,
        ok=first.row.success_percent >= min_success,
        verdict=describe(rows, found, min_success=min_success) + _describe_use(last, found),
        axis="at once",
        rows=rows,
        observed=[step.seen for step in steps],
        uses=[step.use for step in steps],
        knee=at.row if at is not None else None,
        reasons=explain(last.row),
        levers=[_QUIETER, *moves] if found.broke and last.use.full else moves,
        suggestion=suggested,
        notes=[*notes, unsafe] if unsafe else notes,
        marks={at.row.x: "knee"} if at is not None else {},
    )


_QUIETER = Lever(
    "a quieter or a larger machine, or another one for this program",
    "The processor was full in the last step: what is said below may be a symptom of that.",
)


def check_suggestion(suggested: Suggestion | None, steps: Sequence[BenchStep]) -> tuple[Suggestion | None, str | None]:
    """Returns the suggestion, or why there is none: a busy machine justifies no limit under the default.

    `steps` are the knee's and those after it. A processor that is full bends latency at few tasks at once, whatever the
    coordinator could carry; the limit would then hold back tasks that only wait for their agents.
    """
    full = next((step for step in steps if step.use.full), None)
    if suggested is None or full is None or suggested.max_concurrent_tasks >= DEFAULT_TASKS:
        return suggested, None
    return None, (
        f"No MAX_CONCURRENT_TASKS is suggested: with {full.row.label} at once {full.use.shown}, so the figures tell "
        f"what the machine had left. Keep the default, {DEFAULT_TASKS}, or measure again when it is quiet."
    )


def _describe_use(last: BenchStep, found: Knee) -> str:
    return f" Meanwhile {last.use.shown}: the limit may be the machine's." if found.broke and last.use.full else ""


def describe(rows: Sequence[BenchRow], found: Knee, *, min_success: float) -> str:
    """Says where it broke and where the knee is, in two sentences."""
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
