"""The named scenarios: tasks by the clock while something happens, and the figures that tell what it did."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from load.agents import slow
from load.driving.calls import Call, wait_for_stop
from load.driving.sending import Collected
from load.findings.findings import BenchFindings, Fact
from load.findings.knee import DEFAULT_TASKS, NEARLY, round_up
from load.findings.observer import Observed, fetch_memory_bytes
from load.findings.reasons import explain, find_levers
from load.findings.recovery import find_outage, measure_recovery
from load.findings.rows import BenchRow, compute_percentiles, sum_up
from load.scenarios import victim
from load.scenarios.bench import Bench, slice_evenly

MEMORY_EVERY_SECONDS = 5.0
LOOK_SECONDS = 0.2  # between two looks where things happen fast


async def run_steady(bench: Bench) -> BenchFindings:
    """Sends tasks at a fixed rate."""
    collected = Collected()
    async with bench.observe() as observer:
        rows = await bench.run_schedule(_plan_starts(bench), collected, slices=slice_evenly(bench.options.seconds))
    return _build_findings(bench, "steady", collected, rows, observer.seen)


async def run_burst(bench: Bench) -> BenchFindings:
    """Sends many tasks at once, waits, and repeats that."""
    options = bench.options
    each = options.quiet
    count = max(1, math.ceil(options.seconds / each))
    slices = [each * n for n in range(count + 1)]
    collected = Collected()
    async with bench.observe(every_seconds=LOOK_SECONDS) as observer:
        starts = (start for start in slices[:-1] for _ in range(options.burst))
        rows = await bench.run_schedule(starts, collected, slices=slices)
    refused = [call.seconds for call in collected.calls if call.reason == "overloaded"]
    facts = [
        _tell_seconds(
            "answered, the last of a burst",
            max((_find_last(collected, s, e) for s, e in pairwise(slices)), default=None),
        ),
        Fact("refused with 429", len(refused), f"{len(refused):,}"),
        _tell_seconds("a refusal, p99", compute_percentiles(refused)[2] if refused else None),
    ]
    if len(rows) > 1 and rows[0].p95 and rows[-1].p95:
        facts.append(_tell_times("p95 of the last burst / of the first", rows[-1].p95 / rows[0].p95))
    return _build_findings(bench, "burst", collected, rows, observer.seen, facts)


async def run_soak(bench: Bench) -> BenchFindings:
    """Sends tasks at a fixed rate for long; finds the coordinator's memory and the drift of latency."""
    collected = Collected()
    memory: list[float] = []
    async with bench.observe(every_seconds=MEMORY_EVERY_SECONDS) as observer:

        async def remember() -> None:
            while (now := await fetch_memory_bytes(observer)) is not None:
                memory.append(now)
                await asyncio.sleep(MEMORY_EVERY_SECONDS)

        watching = asyncio.create_task(remember(), name="memory")
        try:
            rows = await bench.run_schedule(_plan_starts(bench), collected, slices=slice_evenly(bench.options.seconds))
        finally:
            watching.cancel()
            await asyncio.wait({watching})
        if memory and (last := await fetch_memory_bytes(observer)) is not None:
            memory.append(last)
    facts = []
    if memory:
        facts += [
            _tell_megabytes("memory at the beginning", memory[0]),
            _tell_megabytes("memory at the end", memory[-1]),
        ]
        facts.append(_tell_megabytes("memory at most", max(memory)))
        growth = 100 * (memory[-1] / memory[0] - 1)
        facts.append(Fact("memory growth", growth, f"{growth:+.1f} %"))
    else:
        bench.notes.append("Memory: /metrics does not tell process_resident_memory_bytes; watch the process itself.")
    quarter = max(1, len(rows) // 4)
    early, late = (_compute_p95(collected.calls, some) for some in (rows[:quarter], rows[-quarter:]))
    if len(rows) > 1 and early and late:
        drift = 100 * (late / early - 1)
        facts.append(
            Fact("drift of p95, last quarter to first", drift, f"{drift:+.0f} % ({early:.3f} s, {late:.3f} s)")
        )
    return _build_findings(bench, "soak", collected, rows, observer.seen, facts)


async def run_worker_dies(bench: Bench) -> BenchFindings:
    """Kills one process after a third of the time; raises `NoVictim`."""
    options = bench.options
    pid = victim.find_victim(options.kill_pid, options.kill_container)
    collected, after, killed = Collected(), options.seconds / 3, list[float]()

    async def strike() -> None:
        if not await wait_for_stop(bench.limits.stop, after):
            victim.kill(pid)
            killed.append(time.monotonic())
            bench.display.note(f"Killed process {pid}.")

    async with bench.observe(every_seconds=LOOK_SECONDS) as observer:
        rows = await _run_beside(
            strike, bench.run_schedule(_plan_starts(bench), collected, slices=slice_evenly(options.seconds))
        )
    facts, marks = [], dict[float, str]()
    if killed:
        at = killed[0]
        marks[at - collected.began] = "killed"
        until = min(time.monotonic(), collected.began + options.seconds)
        felt = measure_recovery(collected.calls, at=at, until=until)
        name, gone, back = find_outage(observer.samples, at=at)
        facts = [
            Fact("tasks that did not complete after the kill", felt.failed, f"{felt.failed:,}"),
            _tell_seconds("from the kill until the last of them had ended", felt.failing_seconds),
            _tell_seconds("from the kill until p95 was under 3x that of before", felt.slow_seconds),
            _tell_seconds(
                "from the kill until all was as before", felt.seconds, "not within the time that was watched"
            ),
            Fact("agent that lost an instance", name, name or "none that the coordinator showed"),
            _tell_seconds("from the kill until the coordinator showed it", gone, "it did not"),
            _tell_seconds("from the kill until the instance was back", back, "it was not"),
        ]
        if name and all(count < 2 for agent, count in observer.samples[0].count_healthy().items() if agent == name):
            bench.notes.append(f"{name} had one instance only: with two, its steps go to the other one.")
    return _build_findings(bench, "worker-dies", collected, rows, observer.seen, facts, marks)


async def run_slow_worker(bench: Bench) -> BenchFindings:
    """Lets an agent that is slow on purpose join after half of the time; raises `slow.NotJoined`."""
    options = bench.options
    collected = Collected()
    joined_at: list[float] = []
    async with slow.serve(options.slow_ms / 1000, options.slow_host) as (agent, endpoint):

        async def join() -> None:
            if await wait_for_stop(bench.limits.stop, options.seconds / 2):
                return
            async with slow.join(
                bench.session, options.url, options.api_key, endpoint=endpoint, capability=options.capability
            ):
                joined_at.append(time.monotonic())
                bench.display.note(f"A slow agent takes part in {options.capability!r}.")
                await wait_for_stop(bench.limits.stop, collected.began + options.seconds - time.monotonic())
                while collected.open and not bench.limits.stop.is_set():  # noqa: ASYNC110  ends by the tasks' deadlines
                    await asyncio.sleep(0.1)

        async with bench.observe() as observer:
            rows = await _run_beside(
                join, bench.run_schedule(_plan_starts(bench), collected, slices=slice_evenly(options.seconds))
            )
    facts, marks = [], dict[float, str]()
    if joined_at:
        marks[joined_at[0] - collected.began] = "slow agent"
        before, during = _part(collected.calls, joined_at[0])
        facts = _compare(before, during)
        if during:
            share = 100 * agent.steps / len(during)
            shown = f"{share:.1f} % ({agent.steps:,} for {len(during):,} tasks)"
            facts.append(Fact("share of the steps that the slow agent got", share, shown))
    return _build_findings(bench, "slow-worker", collected, rows, observer.seen, facts, marks)


SCENARIOS: Mapping[str, Callable[[Bench], Awaitable[BenchFindings]]] = {
    "steady": run_steady,
    "burst": run_burst,
    "soak": run_soak,
    "worker-dies": run_worker_dies,
    "slow-worker": run_slow_worker,
}


# --- what they share ------------------------------------------------------------------------------


def _plan_starts(bench: Bench) -> Iterator[float]:
    rate = bench.options.rate
    return (n / rate for n in range(max(1, int(rate * bench.options.seconds))))


async def _run_beside(what: Callable[[], Awaitable[None]], schedule: Awaitable[list[BenchRow]]) -> list[BenchRow]:
    """Runs a schedule beside something else and returns its rows; the first error of either ends both."""

    async def run() -> list[BenchRow]:
        return await schedule

    async def do_what() -> None:
        await what()

    try:
        async with asyncio.TaskGroup() as group:
            rows = group.create_task(run(), name="schedule")
            group.create_task(do_what(), name="event")
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return rows.result()


def _build_findings(
    bench: Bench,
    name: str,
    collected: Collected,
    rows: Sequence[BenchRow],
    seen: Observed,
    facts: Sequence[Fact] = (),
    marks: Mapping[float, str] | None = None,
) -> BenchFindings:
    options = bench.options
    seconds = max(0.001, time.monotonic() - collected.began) if bench.limits.over else options.seconds
    whole = sum_up(collected.calls, label="all", x=0, began=collected.began, seconds=seconds)
    ok = whole.tasks > 0 and whole.success_percent >= options.min_success
    rate = [
        Fact("success", whole.success_percent, f"{whole.success_percent:.2f} %"),
        Fact("completed a second", whole.per_second, f"{whole.per_second:.1f}"),
        _tell_seconds("average", whole.average),
        *(_tell_seconds(p, value) for p, value in (("p50", whole.p50), ("p95", whole.p95), ("p99", whole.p99))),
    ]
    if whole.average and whole.carried_per_second and ok and name != "burst":
        inside = whole.carried_per_second * whole.average
        kept_up = whole.carried_per_second > NEARLY * whole.tasks / seconds
        enough = max(DEFAULT_TASKS, round_up(inside))
        default = ", the default," if enough == DEFAULT_TASKS else ""
        fits = f"{inside:.1f} (MAX_CONCURRENT_TASKS={enough}{default} is enough for this load)"
        rate.append(Fact("open at once on average (Little's law)", inside, fits if kept_up else f"{inside:.1f}"))
        if not kept_up:
            sent = (
                f"{whole.tasks / seconds:.1f} tasks/s were sent, {whole.carried_per_second:.1f} tasks/s were answered"
            )
            bench.notes.append(f"It did not keep up: {sent}. With more time, latency grows without end.")
    if whole.tasks:
        verdict = f"{whole.completed:,} of {whole.tasks:,} tasks completed ({whole.success_percent:.2f} %)" + (
            f", p95 {whole.p95:.3f} s." if whole.p95 is not None else "."
        )
    else:
        verdict = "No task ended; nothing was measured."
    return BenchFindings(
        scenario=name,
        url=options.url,
        ok=ok,
        verdict=verdict,
        axis="seconds",
        rows=rows,
        observed=[seen],
        reasons=explain(whole),
        levers=find_levers(whole, seen, first=seen, broke=None if ok else "success"),
        facts=[*facts, *rate],
        notes=bench.notes,
        marks=marks or {},
    )


def _compare(before: Sequence[Call], during: Sequence[Call]) -> list[Fact]:
    """Returns how p99 changed."""
    if not before or not during:
        return []
    old, new = (compute_percentiles([call.seconds for call in some])[2] for some in (before, during))
    change = 100 * (new / old - 1) if old else 0.0
    return [
        _tell_seconds("p99 before", old),
        _tell_seconds("p99 with the slow agent", new),
        Fact("change of p99", change, f"{change:+.0f} %"),
    ]


def _part(calls: Sequence[Call], at: float) -> tuple[list[Call], list[Call]]:
    """Parts calls into those that ended before `at` and those that began after; refusals are in neither."""
    carried = [call for call in calls if call.carried]
    return [c for c in carried if c.began + c.seconds < at], [c for c in carried if c.began >= at]


def _compute_p95(calls: Sequence[Call], rows: Sequence[BenchRow]) -> float | None:
    """Computes p95 of the tasks that began in these rows, which follow each other."""
    if not rows or not calls:
        return None
    began = min(call.began for call in calls)
    start, end = rows[0].x, rows[-1].x + rows[-1].seconds
    times = [call.seconds for call in calls if call.carried and start <= call.began - began < end]
    return compute_percentiles(times)[1] if times else None


def _find_last(collected: Collected, start: float, end: float) -> float:
    """Returns the seconds from the beginning of a burst to its last answer."""
    calls = (c for c in collected.calls if c.carried and start <= c.began - collected.began < end)
    return max((call.seconds for call in calls), default=0.0)


def _tell_seconds(name: str, value: float | None, otherwise: str = "–") -> Fact:
    return Fact(name, value, f"{value:.3f} s" if value is not None else otherwise)


def _tell_times(name: str, value: float) -> Fact:
    return Fact(name, value, f"{value:.2f}x")


def _tell_megabytes(name: str, value: float) -> Fact:
    return Fact(name, value / 1e6, f"{value / 1e6:.1f} MB")
