"""PURE: who may start a task beyond the limit, because others hold all the places."""

from __future__ import annotations

from collections import defaultdict

from coordinator.tasks.lane import Lane


class Guests:
    """A key, or a tenant within its key, that holds less than half of an equal part need not wait for the others' ends.

    Tasks that start together end together, so that who comes between waits for a whole task. A quarter of the
    places are therefore given beyond the limit. Where one key and tenant holds all that is taken, there are no guests.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._most = places // 4
        self._held: defaultdict[str | None, dict[str | None, int]] = defaultdict(dict)
        self.here = 0

    def may_come(self, lane: Lane) -> bool:
        """Whether a task of this lane may start though no place is free."""
        if self.here >= self._most or not self._held:
            return False
        tenants = self._held.get(lane.key, {})
        keys = len(self._held) - (lane.key in self._held)
        others = len(tenants) - (lane.tenant in tenants)
        return (
            keys + others > 0
            and (not keys or self._is_short(sum(tenants.values()), keys))
            and (not others or self._is_short(tenants.get(lane.tenant, 0), others))
        )

    def take(self, lane: Lane, *, beyond: bool) -> None:
        """A task of the lane has a place now; `beyond`: as a guest."""
        tenants = self._held[lane.key]
        tenants[lane.tenant] = tenants.get(lane.tenant, 0) + 1
        self.here += beyond

    def give_back(self, lane: Lane, *, beyond: bool) -> None:
        """It has none any more."""
        tenants = self._held[lane.key]
        tenants[lane.tenant] -= 1
        if not tenants[lane.tenant]:
            del tenants[lane.tenant]
        if not tenants:
            del self._held[lane.key]
        self.here -= beyond

    def _is_short(self, has: int, others: int) -> bool:
        return has < max(1, self._places // (2 * (others + 1)))
