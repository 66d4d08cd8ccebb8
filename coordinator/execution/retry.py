"""Retries of steps: whether a failed attempt is repeated, after which pause, and within which budget."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

from shared.errors import AgentBusy, AgentLost, AgentUnreachable, CallNotSent, StepFailure
from shared.recording.tape import read

MAX_ATTEMPTS = 3
MAX_DELEGATION_ATTEMPTS = 2
FIRST_PAUSE_SECONDS = 0.1  # doubled with each attempt, with jitter
RETRY_SHARE = 0.1  # of all calls may be retries of answers that agents gave, plus one a second
RETRY_BURST = 20.0
GONE = AgentLost | AgentUnreachable  # failures of an instance that gets no calls until a probe succeeds


def may_delegate_again(failure: StepFailure, *, attempts: int) -> bool:
    """Whether another instance gets a delegation: only if the last one never saw it; the asker decides on the rest."""
    return isinstance(failure, AgentUnreachable) and attempts < MAX_DELEGATION_ATTEMPTS


class Retries:
    """Decides on retries for the whole coordinator, so that an outage is not answered with a storm.

    Which failures may be retried at all, their classes say (`retryable` in `shared/errors.py`). Only failures that an
    agent answered with use the budget: an instance that is gone gets no calls anyway, nor does one that was not called.
    """

    def __init__(self, *, now: Callable[[], float], random: Random) -> None:
        self._now = now
        self._random = random
        self._tokens = RETRY_BURST
        self._at = now()

    def count_call(self) -> None:
        """Adds the share of one call to the budget."""
        self._tokens = min(RETRY_BURST, self._tokens + RETRY_SHARE)

    def choose_pause(
        self, failure: StepFailure, *, attempts: int, calls_left: int | None, until: float
    ) -> float | None:
        """Seconds before the next attempt of a step that has failed so often; None if there is none.

        None also when the step has no call left, or the pause would last until its end (`until`, monotonic).
        """
        if not failure.retryable or attempts >= MAX_ATTEMPTS or calls_left == 0:
            return None
        gone = isinstance(failure, GONE)
        if not gone and not isinstance(failure, CallNotSent) and not read("budget", self._take):
            return None
        pause = 0.0 if gone and attempts == 1 else FIRST_PAUSE_SECONDS * 2.0 ** (attempts - 1)
        pause *= 0.5 + read("chance", self._random.random)
        if isinstance(failure, AgentBusy):
            with contextlib.suppress(ValueError):
                pause = max(pause, float(failure.headers.get("Retry-After", 0)))
        return pause if self._now() + pause < until else None

    def _take(self) -> bool:
        """Spends one retry of the budget; False if none is left."""
        now = self._now()
        self._tokens = min(RETRY_BURST, self._tokens + (now - self._at))
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
