"""PURE: keeps calls away from a model that lets them wait for nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_SECONDS = 15.0  # doubled with each failure in a row
MOST_SECONDS = 120.0


class Breaker:
    """One for all steps of a process that ask a model; `now` is a monotonic clock in seconds.

    A call that ended without a word opens it. When its time has passed, one call may try; the others wait for what
    becomes of that one.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures = 0
        self._until = 0.0
        self._why = ""

    def refusal(self) -> str:
        """Why no call may be made now, empty where one may: that one is then the try."""
        if not self._failures:
            return ""
        now = self._now()
        if now < self._until:
            return f"{self._why} Next attempt in {self._until - now:.0f} s."
        self._until = now + FIRST_SECONDS
        return ""

    def succeeded(self) -> None:
        """It has answered, with whatever."""
        self._failures = 0

    def failed(self, why: str) -> None:
        """It was silent; `why` is a sentence."""
        self._failures += 1
        self._until = self._now() + min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** (self._failures - 1))
        self._why = why
