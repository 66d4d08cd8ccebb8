"""How long a failure was felt."""

from __future__ import annotations

import pytest

from load.driving.calls import Call
from load.findings.recovery import find_outage, measure_recovery
from tests.load.findings.made import look


def test_recovery_starts_after_the_last_bad_second():
    """Recovery is when the last failure and the last slow second are over."""
    usual = [Call(n / 10, 0.1, "completed") for n in range(200)]
    failed = [Call(10.0, 0.5, "connection_failed", carried=False), Call(10.1, 1.4, "partial")]

    felt = measure_recovery([*usual, *failed], at=10.0, until=20.0)

    assert (felt.failed, felt.failing_seconds) == (2, pytest.approx(1.5))
    assert felt.seconds == pytest.approx(1.5)


def test_what_still_fails_at_the_end_has_not_recovered():
    calls = [Call(n / 10, 0.1, "completed" if n < 100 else "partial") for n in range(200)]

    assert measure_recovery(calls, at=10.0, until=20.0).seconds is None


def test_the_coordinator_shows_an_instance_gone_and_back():
    samples = [look(1, "healthy", "healthy"), look(3, "healthy", "unreachable"), look(6, "healthy", "healthy")]

    assert find_outage(samples, at=2.0) == ("worker", 1.0, 4.0)
