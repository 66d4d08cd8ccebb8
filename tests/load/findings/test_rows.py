"""Calls summed up."""

from __future__ import annotations

import pytest

from load.driving.calls import Call
from load.findings.rows import compute_percentiles, sum_up


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], (3.0, 3.0, 3.0)),
        ([1.0, 2.0], (1.5, 1.95, 1.99)),
        ([float(n) for n in range(101)], (50.0, 95.0, 99.0)),
        ([float(n) for n in reversed(range(101))], (50.0, 95.0, 99.0)),
    ],
)
def test_percentiles(values, expected):
    assert compute_percentiles(values) == pytest.approx(expected)


def test_no_values_have_no_percentiles():
    with pytest.raises(ValueError, match="No values"):
        compute_percentiles([])


def test_refusals_count_as_failures_and_in_no_latency():
    calls = [Call(0, 2.0, "completed"), Call(0, 0.001, "overloaded", carried=False, retry_after=3)]

    summed = sum_up(calls, label="2", x=2, began=0, seconds=2)

    assert (summed.tasks, summed.completed, summed.success_percent) == (2, 1, 50.0)
    assert (summed.average, summed.p99) == (2.0, 2.0)
    assert summed.reasons == {"overloaded": 1}
    assert summed.retry_after == 3


def test_rate_covers_the_time_of_nearly_all_answers():
    """40 tasks that took 4 s each in a step of 1 s are 10 a second, not 40."""
    calls = [Call(0, 4.0, "completed")] * 40

    assert sum_up(calls, label="40", x=40, began=0, seconds=1).per_second == 10


def test_one_straggler_does_not_bend_the_rate():
    calls = [Call(0, 0.5, "completed")] * 99 + [Call(0, 30.0, "task_timed_out")]

    assert sum_up(calls, label="1", x=1, began=0, seconds=1).per_second == 99


def test_rate_of_a_stretch_counts_its_own_answers():
    """The rate of one stretch among others is what was answered in it."""
    calls = [Call(n / 10, 1.0, "completed") for n in range(20)]

    early, late = (
        sum_up([c for c in calls if start <= c.began < start + 1], label="", x=0, began=start, seconds=1, among=calls)
        for start in (0, 1)
    )

    assert (early.completed, early.per_second) == (10, 1)  # begun in the first second; answered in it
    assert (late.completed, late.per_second) == (10, 10)


def test_a_row_of_nothing():
    summed = sum_up([], label="1", x=1, began=0, seconds=0)

    assert (summed.success_percent, summed.per_second, summed.p95) == (0.0, 0.0, None)
