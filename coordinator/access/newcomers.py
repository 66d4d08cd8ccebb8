"""PURE: how many new agents one caller may register in a while."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

from shared.errors import Overloaded

NEW_A_MINUTE, NEW_AT_ONCE = 60, 200
CALLERS = 1_000  # whose buckets are kept; one that is dropped was the longest without a new agent


class Bucket:
    """A token bucket (RFC 2697's idea): `at_once` at the most, and `a_minute` come back."""

    def __init__(self, *, a_minute: int, at_once: int, now: Callable[[], float]) -> None:
        self._rate = a_minute / 60
        self._most = self._left = float(at_once)
        self._now = now
        self._at = now()

    def take(self) -> float | None:
        """Takes one; None if there was one, else the seconds until there is."""
        now = self._now()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return None


class Newcomers:
    """A bucket for each caller."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._buckets: OrderedDict[tuple[str | None, str], Bucket] = OrderedDict()

    def admit(self, key: str | None, address: str) -> None:
        """Counts a new agent; raises `Overloaded` when its caller has registered too many."""
        who = (key, address)
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = self._buckets[who] = Bucket(a_minute=NEW_A_MINUTE, at_once=NEW_AT_ONCE, now=self._now)
        self._buckets.move_to_end(who)
        if len(self._buckets) > CALLERS:
            self._buckets.popitem(last=False)
        wait = bucket.take()
        if wait is not None:
            raise Overloaded(
                f"Too many new agents from this caller: at most {NEW_A_MINUTE} a minute.",
                retry_after=max(1, math.ceil(wait)),
            )
