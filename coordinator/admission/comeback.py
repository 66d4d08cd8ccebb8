"""When refused callers may come back: each at a time of its own, as fast as places become free."""

from __future__ import annotations

import math
from collections.abc import Callable

UNKNOWN_SECONDS = 5.0  # while nothing has ended yet
SPREAD_SECONDS = 10.0  # over which callers are spread at least, when there are many
LONGEST_RETRY_SECONDS = 300


class Comeback:
    """Tells refused callers when to try again.

    Each is told a time one end of a task later than the one before, until as many have theirs as the queue takes in;
    then it starts over, because nobody knows who comes back.
    """

    def __init__(self, *, places: int, room: int, now: Callable[[], float]) -> None:
        self._places = places
        self._room = room
        self._now = now
        self._next = 0.0  # monotonic

    def tell_seconds(self, *, wait: float, held: float) -> int:
        """Whole seconds, 1 to 300.

        `wait` is how much too long the queue is for this caller, `held` how long a task holds a place; 0 is unknown.
        """
        gap = held / self._places if held else UNKNOWN_SECONDS / self._room
        soonest = self._now() + (wait if held else max(wait, UNKNOWN_SECONDS)) + gap
        at = self._next if soonest < self._next < soonest + max(SPREAD_SECONDS, gap * self._room) else soonest
        self._next = at + gap
        return min(LONGEST_RETRY_SECONDS, max(1, math.ceil(at - self._now())))
