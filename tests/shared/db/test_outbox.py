"""When a letter of an outbox is due, whatever clock its time is from."""

from __future__ import annotations

import pytest

from shared.db.outbox import LONGEST_PAUSE_SECONDS, is_due

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("next_at", "attempts", "due"),
    [
        (NOW, 1, True),
        (NOW + 0.5, 1, False),
        (NOW + LONGEST_PAUSE_SECONDS, 7, False),
        (NOW + LONGEST_PAUSE_SECONDS + 1, 7, True),
        (NOW + 3_600, 1, True),
        (NOW - 3_600, 1, True),
        (NOW + 60, 0, True),
    ],
)
def test_letter_waits_no_longer_than_the_longest_pause(next_at: float, attempts: int, due: bool) -> None:
    """A letter of a process that died before the clock went back an hour does not wait for that hour."""
    assert is_due(next_at, attempts, now=NOW) is due
