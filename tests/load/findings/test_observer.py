"""What the coordinator says of itself."""

from __future__ import annotations

from load.findings.observer import AgentSeen, sum_up_samples
from tests.load.findings.made import look


def test_agents_are_summed_up_over_their_instances():
    samples = [look(1, "healthy", "healthy", load=2, queued=3), look(2, "healthy", "unreachable", running=0)]

    seen = sum_up_samples(
        samples, {"worker": {"steps": 10, "avg_seconds": 1.0}}, {"worker": {"steps": 20, "avg_seconds": 2.0}}
    )

    assert (seen.samples, seen.peak_queued, seen.queued_share) == (1, 3, 1.0)
    assert seen.agents == (AgentSeen("worker", 2, 4, 4, 1.0, 10, 0, 3.0),)
