"""PURE: sums of the last day, by the minute."""

from __future__ import annotations

from collections.abc import Callable

MINUTE, KEPT = 60, 1_440


class Minutes:
    """Adds up pairs of figures, by `wall` in Unix seconds; `began` is when it was made."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.began = wall()
        self._sums: dict[int, tuple[int, int]] = {}

    def add(self, first: int, second: int, *, at: float | None = None) -> None:
        """Adds to the minute that it is, or that it was at `at`."""
        at = self._wall() if at is None else at
        before = self._sums.get(int(at // MINUTE), (0, 0))
        self.put(before[0] + first, before[1] + second, at=at)

    def put(self, first: int, second: int, *, at: float) -> None:
        """Sets the sums of a minute."""
        self._sums[int(at // MINUTE)] = first, second
        while len(self._sums) > KEPT:
            del self._sums[min(self._sums)]

    def sum_up(self, *, since: float, width: float, stretches: int) -> list[tuple[int, int]]:
        """The sums of each stretch of `width` seconds since `since`."""
        found = [(0, 0)] * stretches
        for minute, (first, second) in self._sums.items():
            n = int((minute * MINUTE - since) // width)
            if 0 <= n < stretches:
                found[n] = found[n][0] + first, found[n][1] + second
        return found
