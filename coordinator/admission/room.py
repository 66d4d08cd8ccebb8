"""PURE: how many open tasks each key and tenant has, and how many it may have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from coordinator.tasks.lane import Lane

MOST_NAMES = 100  # tenants of one key that have open tasks; further ones are one
OTHERS = "(other)"  # no name that a caller can send
SHARE = 2.0  # times the room that is left: alone, one may have two thirds, and two who want all two fifths each


class Room:
    """`most` tasks may be open; nobody's can be so many that none of the others' has room.

    A key, and a tenant within its key's part, may have at most twice as many open tasks as there is room left
    (dynamic thresholds: Choudhury and Hahne, 1998), a key of less weight so much less. Where callers are not told
    apart, one may have all.
    """

    def __init__(self, most: int, *, weight_of: Callable[[str | None], float], told_apart: Callable[[], bool]) -> None:
        self._most = most
        self._weight_of = weight_of
        self._told_apart = told_apart
        self._open: defaultdict[str | None, dict[str | None, int]] = defaultdict(dict)

    def has_room(self, lane: Lane, open_tasks: int) -> bool:
        """Whether one more task of a lane may be open, beside so many of all."""
        tenants = self._open.get(lane.key, {})
        room = self._most - open_tasks
        if self._told_apart():
            room = min(room, _allow(sum(tenants.values()), room, SHARE * self._weight_of(lane.key)))
        if lane.tenant is not None or len(tenants) > 1 or (tenants and None not in tenants):
            room = _allow(tenants.get(self._settle(lane).tenant, 0), room, SHARE)
        return room > 0

    def take(self, lane: Lane) -> Lane:
        """Counts an open task; returns the lane that it counts in."""
        lane = self._settle(lane)
        tenants = self._open[lane.key]
        tenants[lane.tenant] = tenants.get(lane.tenant, 0) + 1
        return lane

    def give_back(self, lane: Lane) -> None:
        """A task of a lane, as `take` returned it, has ended."""
        tenants = self._open[lane.key]
        tenants[lane.tenant] -= 1
        if not tenants[lane.tenant]:
            del tenants[lane.tenant]
        if not tenants:
            del self._open[lane.key]

    def _settle(self, lane: Lane) -> Lane:
        tenants = self._open.get(lane.key, {})
        if lane.tenant is None or lane.tenant in tenants or len(tenants) < MOST_NAMES:
            return lane
        return Lane(lane.key, OTHERS)


def _allow(has: int, room: int, share: float) -> int:
    """How many more tasks one may have who has so many; the first is always allowed, and one is left for another."""
    return min(room, max(int(share * (room - 1)) - has, 0 if has else 1))
