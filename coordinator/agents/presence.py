"""PURE: which agents have been away for so long that they are taken off the list."""

from __future__ import annotations

from collections.abc import Iterable

from coordinator.agents.instance import Instance

UNREACHED_SECONDS = 600.0  # an agent that was never reached goes
GONE_SECONDS = 30 * 86_400.0  # so does one that was reached and has been away since


def find_gone(instances: Iterable[Instance], *, now: float, wall: float) -> list[Instance]:
    """Those who were never reached in 10 minutes, and those who have not been seen for 30 days."""
    return [i for i in instances if _is_gone(i, now, wall)]


def choose_to_go(instances: Iterable[Instance]) -> Instance | None:
    """The agent to remove for a new one: one never reached, else the one away longest; None if all are present."""
    away = [i for i in instances if i.away_since is not None]
    return min(away, key=lambda i: (i.reached, i.away_since), default=None)


def _is_gone(instance: Instance, now: float, wall: float) -> bool:
    if not instance.reached:
        return now - instance.registered_at > UNREACHED_SECONDS
    return instance.away_since is not None and wall - (instance.wall_last_seen or wall) > GONE_SECONDS
