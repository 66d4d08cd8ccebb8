"""PURE: what a task may still spend: calls and tokens are reserved before a step and settled after it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contracts import NO_USAGE, Usage
from shared.copying import changed
from shared.errors import LimitReached


@dataclass(frozen=True)
class Ledger:
    """Spent and reserved calls and tokens of one task; a limit of None is none.

    A step's attempt is one call; what its agent reports on top counts too.
    """

    max_calls: int | None = None
    max_tokens: int | None = None
    spent_calls: int = 0
    reserved_calls: int = 0
    spent_tokens: int = 0
    reserved_tokens: int = 0

    @property
    def calls_left(self) -> int | None:
        return None if self.max_calls is None else self.max_calls - self.spent_calls - self.reserved_calls

    @property
    def tokens_left(self) -> int | None:
        return None if self.max_tokens is None else self.max_tokens - self.spent_tokens - self.reserved_tokens

    def reserve(
        self, *, sharers: int, later: int = 0, most_calls: int | None = None, most_tokens: int | None = None
    ) -> tuple[Ledger, int, int]:
        """Sets an equal share of what is left aside for one of `sharers` steps that start together, or the most it may.

        For each of `later` steps, which start after them, one call and an equal share of the tokens are kept back.
        Returns the ledger, calls and tokens (0 where there is no limit); raises `LimitReached` when nothing is left.
        """
        calls = _compute_share(self.calls_left, sharers, later, "calls", self.max_calls)
        tokens = _compute_share(self.tokens_left, sharers + later, 0, "tokens", self.max_tokens)
        calls = calls if most_calls is None else min(calls, most_calls)
        tokens = tokens if most_tokens is None else min(tokens, most_tokens)
        reserved = changed(
            self, reserved_calls=self.reserved_calls + calls, reserved_tokens=self.reserved_tokens + tokens
        )
        return reserved, calls, tokens

    def settle(self, *, calls: int, tokens: int, usage: Usage, before: Usage = NO_USAGE) -> Ledger:
        """Gives back what was reserved and books what was used, but for what of it was booked `before`."""
        return changed(
            self,
            reserved_calls=self.reserved_calls - calls,
            reserved_tokens=self.reserved_tokens - tokens,
            spent_calls=self.spent_calls + usage.calls - before.calls,
            spent_tokens=self.spent_tokens + usage.tokens - before.tokens,
        )


def _compute_share(left: int | None, sharers: int, kept_back: int, what: str, limit: int | None) -> int:
    if left is None:
        return 0
    if left <= 0:
        raise LimitReached(f"The task has used all {limit} of its {what}.")
    return max(1, (left - kept_back) // max(1, sharers))
