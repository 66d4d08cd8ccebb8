"""What every run has at hand, and the three ways to measure: a step of callers, a schedule, one task."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import aiohttp

from load.display.terminal import Display
from load.driving.calls import Call, Sender
from load.driving.options import Options
from load.driving.sending import Collected, DriveLimits, send_by_callers, send_by_the_clock
from load.findings.observer import Observed, Observer
from load.findings.rows import BenchRow, sum_up
from load.processes.processor import OWN_CORES, Meter, ProcessorUse

TICK_SECONDS = 0.25
SLICES = 12


@dataclass(frozen=True)
class BenchStep:
    """So many callers for a while: their calls summed up, what the coordinator said of itself, the processor's use."""

    row: BenchRow
    seen: Observed
    use: ProcessorUse


@dataclass
class Bench:
    """One run. `notes` are sentences that whoever reads the figures must know."""

    options: Options
    session: aiohttp.ClientSession
    sender: Sender
    display: Display
    limits: DriveLimits
    notes: list[str] = field(default_factory=list)

    def observe(self, *, every_seconds: float = 0.5) -> Observer:
        return Observer(self.session, self.options.url, self.options.api_key, every_seconds)

    async def measure_step(self, count: int) -> BenchStep:
        """Measures `count` callers for --seconds."""
        collected, seconds, label = Collected(), self.options.seconds, str(count)

        def tick() -> None:
            self.display.show_running(label, collected, share=(time.monotonic() - collected.began) / seconds)

        async with self.observe() as observer, self._watch(tick) as meter:
            await send_by_callers(self.sender.send, count, seconds, self.limits, collected)
            use = meter.use
        taken = min(seconds, time.monotonic() - collected.began) if self.limits.over else seconds
        measured = sum_up(collected.calls, label=label, x=count, began=collected.began, seconds=taken)
        self.display.add_row(measured)
        return BenchStep(measured, observer.seen, use)

    async def run_schedule(
        self, starts: Iterable[float], into: Collected, *, slices: Sequence[float]
    ) -> list[BenchRow]:
        """Sends tasks by the clock; returns a row for each slice. `slices` are their beginnings, and the end."""
        rows: list[BenchRow] = []

        def tick() -> None:
            now = time.monotonic() - into.began
            answered = min(into.open, default=into.began + now) - into.began
            while len(rows) + 1 < len(slices) and answered > slices[len(rows) + 1]:
                self._add_slice(rows, into.calls, into.began, slices)
            running = max((n for n, start in enumerate(slices[:-1]) if start <= now), default=0)
            self.display.show_running(format_label(slices, running), into, share=now / slices[-1])

        async with self._watch(tick):
            await send_by_the_clock(self.sender.send, starts, self.limits, into)
        over = time.monotonic() - into.began
        while len(rows) + 1 < len(slices) and slices[len(rows)] < over:
            self._add_slice(rows, into.calls, into.began, slices)
        return [some for some in rows if some.tasks]

    def _add_slice(self, rows: list[BenchRow], calls: Sequence[Call], began: float, slices: Sequence[float]) -> None:
        number = len(rows)
        start, end = slices[number], slices[number + 1]
        inside = [call for call in calls if start <= call.began - began < end]
        name = format_label(slices, number)
        rows.append(sum_up(inside, label=name, x=start, began=began + start, seconds=end - start, among=calls))
        if inside:
            self.display.add_row(rows[-1])

    @contextlib.asynccontextmanager
    async def _watch(self, tick: Callable[[], None]) -> AsyncIterator[Meter]:
        """Calls `tick` four times a second; notes when this program used most of a core."""

        async def tick_forever() -> None:
            while True:
                tick()
                await asyncio.sleep(TICK_SECONDS)

        meter = Meter()
        ticking = asyncio.create_task(tick_forever(), name="display")
        try:
            yield meter
        finally:
            ticking.cancel()
            await asyncio.wait({ticking})
            if not ticking.cancelled():
                ticking.result()
        if (own := meter.use.own_cores) > OWN_CORES:
            self.notes.append(f"This program itself used {own:.0%} of a core for a while: the rates are a lower bound.")


def format_label(slices: Sequence[float], number: int) -> str:
    return f"{slices[number]:.3g}–{slices[number + 1]:.3g} s"


def slice_evenly(seconds: float) -> list[float]:
    """Slices a time into at most 12 parts of a second or more."""
    count = max(1, min(SLICES, int(seconds)))
    return [seconds * n / count for n in range(count + 1)]
