"""The rounds of probes, shared out among coordinators."""

from __future__ import annotations

from coordinator.agents.instance import Instance
from coordinator.agents.rounds import list_due
from shared.contracts import AgentStatus, Registration


def _make(number: int, *, status: AgentStatus = AgentStatus.HEALTHY, lease_until: float | None = 10.0) -> Instance:
    registration = Registration(name="a", endpoint=f"http://a:{number + 1}", capabilities=["c"])  # type: ignore[arg-type]
    return Instance(f"a-{number}", registration, 0.0, 0.0, status=status, lease_until=lease_until)


def test_every_agent_is_probed_within_as_many_rounds():
    """Three coordinators: a third of the agents each time, and all in three."""
    agents = [_make(number) for number in range(10)]

    rounds = [[a.id for a in list_due(agents, turn=turn, sharers=3)] for turn in range(3)]

    assert sorted(id for one in rounds for id in one) == sorted(a.id for a in agents)
    assert {len(one) for one in rounds} == {3, 4}


def test_one_coordinator_probes_all_every_time():
    agents = [_make(number) for number in range(10)]

    assert list_due(agents, turn=7, sharers=1) == agents


def test_unwell_and_silent_kinds_are_always_probed():
    """One that is unreachable comes back as soon as with one coordinator; one without heartbeats has only probes."""
    agents = [_make(0), _make(1, status=AgentStatus.UNREACHABLE), _make(2, lease_until=None), _make(3)]

    assert {a.id for a in list_due(agents, turn=1, sharers=100)} == {"a-1", "a-2"}
