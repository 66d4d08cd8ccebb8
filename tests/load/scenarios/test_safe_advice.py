"""The advice of the load script is safe: a busy machine is named, a step is repeated, no limit is lowered for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from load.driving.sending import DriveLimits
from load.findings.knee import DEFAULT_TASKS, Suggestion
from load.findings.observer import AgentSeen, Observed
from load.findings.rows import BenchRow
from load.processes.processor import Meter, ProcessorUse, read_ticks
from load.scenarios.bench import BenchStep
from load.scenarios.stepwise import check_suggestion, interpret, search
from shared.settings import CoordinatorSettings

QUIET, BUSY, OURSELVES = ProcessorUse(0.2, 0.5), ProcessorUse(0.2, 0.97), ProcessorUse(0.95, 0.5)
HELD_BACK = Observed(
    samples=10, peak_running=64, peak_queued=9, queued_share=1.0, agents=(AgentSeen("a", 1, 1, 8, 0.0, 9, 0, 0.1),)
)


def step(
    concurrency: int, *, rate: float, p95: float, use: ProcessorUse = QUIET, seen: Observed | None = None
) -> BenchStep:
    """So many at once; all complete."""
    measured = BenchRow(str(concurrency), concurrency, 10, 1_000, 1_000, rate, rate, average=p95 / 2, p95=p95)
    return BenchStep(measured, seen or Observed(), use)


class Played:
    """A bench that plays steps instead of measuring them, in order."""

    def __init__(self, *steps: BenchStep) -> None:
        self.options = SimpleNamespace(steps=(5, 10, 20), url="http://x", min_success=80.0)
        self.limits = DriveLimits(1_000_000)
        self.notes: list[str] = []
        self.asked: list[int] = []
        self._steps = iter(steps)

    async def measure_step(self, count: int) -> BenchStep:
        self.asked.append(count)
        return next(self._steps)


def test_the_default_is_the_coordinators():
    assert CoordinatorSettings.model_fields["max_concurrent_tasks"].default == DEFAULT_TASKS


@pytest.mark.parametrize("use", [BUSY, OURSELVES])
def test_a_busy_machine_never_lowers_the_limit(use):
    """And it is said why there is no suggestion; also when only the step after the knee was busy."""
    steps = [step(5, rate=50, p95=0.1), step(10, rate=51, p95=0.9, use=use)]

    found = interpret("http://x", steps, min_success=80)

    assert found.suggestion is None
    assert use.shown in found.notes[-1]
    assert f"Keep the default, {DEFAULT_TASKS}" in found.notes[-1]
    assert found.levers[0].setting.startswith("a quieter or a larger machine")
    assert "the limit may be the machine's" in found.verdict


def test_a_quiet_machine_may_lower_it():
    found = interpret("http://x", [step(5, rate=50, p95=0.1), step(10, rate=51, p95=0.9)], min_success=80)

    assert found.suggestion is not None
    assert found.suggestion.max_concurrent_tasks == 3


def test_a_busy_machine_may_raise_it():
    suggested = Suggestion(2 * DEFAULT_TASKS, "It held them back.")

    assert check_suggestion(suggested, [step(5, rate=50, p95=0.1, use=BUSY)]) == (suggested, None)


def test_what_was_busy_before_the_knee_does_not_count():
    steps = [step(5, rate=10, p95=0.1, use=BUSY), step(10, rate=50, p95=0.1), step(20, rate=51, p95=0.9)]

    assert interpret("http://x", steps, min_success=80).suggestion is not None


def test_the_processor_is_part_of_the_findings():
    assert interpret("http://x", [step(5, rate=50, p95=0.1)], min_success=80).as_json()["processor"] == [
        {"own_cores": 0.2, "busy_share": 0.5}
    ]


async def test_a_step_that_breaks_once_is_no_verdict():
    """A neighbour's moment: measured again, the step is fine and the search goes on."""
    bent, fine = step(10, rate=50, p95=0.9), step(10, rate=99, p95=0.1)
    bench: Any = Played(step(5, rate=50, p95=0.1), bent, fine, step(20, rate=190, p95=0.1))

    found = await search(bench)

    assert bench.asked == [5, 10, 10, 20]
    assert [row.per_second for row in found.rows] == [50, 99, 190]
    assert found.verdict.startswith("Nothing broke up to 20")
    assert found.notes == ["10 at once seemed to break it, but did not when it was measured again."]


async def test_a_step_that_breaks_twice_is():
    """The better of both counts."""
    bench: Any = Played(step(5, rate=50, p95=0.1), step(10, rate=40, p95=0.9), step(10, rate=45, p95=0.8))

    found = await search(bench)

    assert bench.asked == [5, 10, 10]
    assert found.rows[-1].per_second == 45
    assert found.verdict.startswith("Latency bent with 10")


async def test_a_run_that_was_stopped_repeats_nothing():
    bench: Any = Played(step(5, rate=50, p95=0.1), step(10, rate=50, p95=0.9))
    bench.options.steps = (5, 10)
    ended = bench.measure_step

    async def stops(count: int) -> BenchStep:
        if count == 10:
            bench.limits.stop.set()
        return await ended(count)

    bench.measure_step = stops

    await search(bench)

    assert bench.asked == [5, 10]


def test_ticks_of_all_cores(tmp_path):
    """Neither idle nor iowait is busy; guest time stands in user time already."""
    stat = tmp_path / "stat"
    stat.write_text("cpu  10 1 20 60 9 3 2 5 7 0\ncpu0 1 2 3\n")

    assert read_ticks(stat) == (41, 110)


@pytest.mark.parametrize("text", ["", "cpu\n", "cpu a b c d e\n", None])
def test_a_machine_that_does_not_tell(tmp_path, text):
    stat = tmp_path / "stat"
    if text is not None:
        stat.write_text(text)

    assert read_ticks(stat) is None


def test_no_figure_of_the_machine_is_not_busy():
    assert not ProcessorUse(0.3, None).full
    assert ProcessorUse(0.3, None).shown == "this program used 30% of a core"


def test_a_meter_sees_its_own_work():
    meter = Meter()
    sum(n * n for n in range(1_000_000))

    use = meter.use

    assert use.own_cores > 0
    assert use.busy_share is None or 0 <= use.busy_share <= 1
