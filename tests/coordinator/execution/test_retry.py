"""Which failed attempts are repeated, and after which pause."""

from __future__ import annotations

from random import Random

import pytest

from coordinator.execution.retry import RETRY_BURST, Retries, may_delegate_again
from shared.errors import AgentBusy, AgentFailed, AgentLost, AgentRefused, AgentUnreachable, StepFailure, StepTimeout

END = 100.0


def pause(
    failure: StepFailure, *, retries: Retries | None = None, attempts: int = 1, calls: int | None = None
) -> float:
    """Seconds until the retry, -1 if there is none."""
    retries = retries or Retries(now=lambda: 0.0, random=Random(1))
    seconds = retries.choose_pause(failure, attempts=attempts, calls_left=calls, until=END)
    return -1.0 if seconds is None else seconds


@pytest.mark.parametrize(
    ("failure", "attempts", "calls", "least", "most"),
    [
        (AgentLost("gone"), 1, None, 0.0, 0.0),
        (AgentUnreachable("gone"), 2, None, 0.1, 0.3),
        (AgentFailed("HTTP 500"), 1, 1, 0.05, 0.15),
        (AgentFailed("HTTP 500"), 2, None, 0.1, 0.3),
        (AgentBusy("HTTP 429", headers={"Retry-After": "7"}), 1, None, 7.0, 7.0),
        (AgentBusy("HTTP 429", headers={"Retry-After": "Fri, 27 Nov 2026"}), 1, None, 0.05, 0.15),
        (AgentFailed("the third time"), 3, None, -1.0, -1.0),
        (AgentFailed("no call left"), 1, 0, -1.0, -1.0),
        (AgentRefused("HTTP 400"), 1, None, -1.0, -1.0),
        (StepTimeout("too late"), 1, None, -1.0, -1.0),
        (AgentBusy("HTTP 429", headers={"Retry-After": str(END)}), 1, None, -1.0, -1.0),
    ],
)
def test_pause_follows_the_failure(
    failure: StepFailure, attempts: int, calls: int | None, least: float, most: float
) -> None:
    """A lost instance is replaced at once; others wait, as long as they ask for; the rest is not repeated."""
    assert least <= pause(failure, attempts=attempts, calls=calls) <= most


def test_budget_bounds_retries_of_answers_only() -> None:
    """With the budget spent, failures that agents answered are final, and lost instances are still replaced."""
    now = 0.0
    retries = Retries(now=lambda: now, random=Random(1))

    granted = [pause(AgentFailed("HTTP 500"), retries=retries) >= 0 for _ in range(int(RETRY_BURST) + 1)]

    assert granted == [True] * int(RETRY_BURST) + [False]
    assert pause(AgentLost("gone"), retries=retries) == 0.0
    now = 1.0  # a second later, one more
    assert pause(AgentFailed("HTTP 500"), retries=retries) > 0 > pause(AgentFailed("HTTP 500"), retries=retries)
    for _ in range(11):  # a tenth of all calls
        retries.count_call()
    assert pause(AgentFailed("HTTP 500"), retries=retries) > 0


def test_delegation_moves_only_if_unseen() -> None:
    """A delegation goes to a second instance if the first never saw it; never to a third."""
    assert may_delegate_again(AgentUnreachable("refused"), attempts=1)
    assert not may_delegate_again(AgentLost("cut"), attempts=1)
    assert not may_delegate_again(AgentUnreachable("refused"), attempts=2)
