"""PURE: which agents each coordinator probes in which round."""

from __future__ import annotations

from collections.abc import Iterable

from coordinator.agents.instance import Instance
from shared.contracts import AgentStatus


def list_due(instances: Iterable[Instance], *, turn: int, sharers: int) -> list[Instance]:
    """Whom to probe in a round.

    Of those that are well and send heartbeats, each of so many coordinators takes a part, and another part the next
    time: so many coordinators together send as many probes as one. All others are probed every time.
    """
    return [
        instance
        for number, instance in enumerate(instances, turn)
        if number % sharers == 0 or instance.lease_until is None or instance.status is not AgentStatus.HEALTHY
    ]
