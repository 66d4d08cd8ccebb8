"""The histogram that one thread fills: what Prometheus reads of it is what prometheus_client's own would say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from shared.server.durations import BUCKETS, Durations

SECONDS = st.floats(min_value=0, max_value=1e6) | st.sampled_from([float(bound) for bound in BUCKETS])


@given(st.lists(SECONDS, max_size=20))
def test_it_reads_like_prometheus_own(seconds: list[float]) -> None:
    """But for the `_created` series, which no query uses."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = Durations("took_seconds", "What it took.", ["of"], registry=ours).labels("a")
    its = Histogram("took_seconds", "What it took.", ["of"], registry=theirs, buckets=BUCKETS).labels("a")
    for each in seconds:
        mine.observe(each)
        its.observe(each)

    said = generate_latest(theirs).decode().partition("# HELP took_seconds_created")[0]
    assert generate_latest(ours).decode() == said


def test_a_clock_turned_back_makes_nothing_negative() -> None:
    registry = CollectorRegistry()
    took = Durations("took_seconds", "What it took.", registry=registry).labels()

    took.observe(-3_600.0)

    assert (took.total, took.counts[0]) == (0.0, 1)
