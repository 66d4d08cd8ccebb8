"""Where more at once stops helping."""

from __future__ import annotations

import pytest

from load.findings.knee import Knee, find_break, find_knee, round_up, suggest
from load.findings.observer import Observed
from tests.load.findings.made import agent, at

GROWING = [at(5, rate=50, p95=0.1), at(10, rate=98, p95=0.11), at(20, rate=100, p95=0.2)]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (GROWING, None),
        ([*GROWING, at(40, rate=101, p95=0.4)], "latency"),
        ([*GROWING, at(40, rate=120, p95=0.4)], None),
        ([*GROWING, at(40, rate=60, p95=0.2, success=79.9)], "success"),
        ([at(5, rate=1, p95=9)], None),
        ([at(5, rate=1, p95=9, success=0)], "success"),
    ],
    ids=["grows", "bends", "slower, but more", "fails", "one step", "one step that fails"],
)
def test_what_breaks(rows, why):
    """Too few completed; or p95 over three times the first one's while the rate no longer grows."""
    assert find_break(rows, min_success=80) == why


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], Knee(None, None)),
        (GROWING, Knee(1, None)),
        ([*GROWING, at(40, rate=300, p95=0.2, success=10)], Knee(1, "success")),
        ([at(5, rate=1, p95=9, success=0)], Knee(None, "success")),
    ],
)
def test_knee_is_the_least_concurrency_near_the_best(rows, found):
    """The row that broke does not count."""
    assert find_knee(rows, min_success=80) == found


@pytest.mark.parametrize(
    ("value", "expected"), [(0.1, 1), (1, 1), (1.2, 2), (2.5, 3), (3.5, 4), (9.7, 12), (33, 48), (64, 64), (100, 128)]
)
def test_sensible_numbers(value, expected):
    assert round_up(value) == expected


def test_the_suggestion_is_littles_law():
    """100 tasks/s that take 0.1 s each are 10 at once."""
    suggested = suggest(at(20, rate=100, p95=0.2), Observed())

    assert suggested is not None
    assert suggested.env_line == "MAX_CONCURRENT_TASKS=12"
    assert "100.0 tasks/s x 0.100 s = 10.0" in suggested.why


def test_limit_that_holds_tasks_back_is_named():
    """A limit that holds tasks back is to be raised."""
    seen = Observed(samples=10, peak_running=4, peak_queued=4, queued_share=1.0, agents=(agent(),))

    suggested = suggest(at(20, rate=100, p95=0.2), seen)

    assert suggested is not None
    assert suggested.max_concurrent_tasks == 8


def test_advice_never_exceeds_a_full_agent():
    """More tasks than a full agent can take are not suggested."""
    seen = Observed(samples=10, peak_running=6, peak_queued=4, queued_share=1.0, agents=(agent(full=0.9),))

    suggested = suggest(at(20, rate=100, p95=0.2), seen)

    assert suggested is not None
    assert suggested.max_concurrent_tasks == 6
