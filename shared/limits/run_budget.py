"""PURE: what one run may still spend of its envelope, and what it has spent: reserved before, booked after."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contracts import NO_USAGE, Usage
from shared.errors import LimitReached
from shared.limits.envelope import Envelope
from shared.limits.ledger import Ledger

CHARACTERS_A_TOKEN = 3  # of a prompt, guessed low: a reservation must not be too small
KEPT_CALLS = 1  # of a run, so that what was gathered can be made an answer
SMALLEST_REPLY = 16  # tokens that are worth a call


@dataclass(frozen=True)
class Reserved:
    """Set aside for one call: `calls` and `tokens` as the ledger has them, and what the call may take (None: any)."""

    calls: int
    tokens: int
    most_calls: int | None
    most_tokens: int | None


class Budget:
    """The calls and tokens of one run; `usage` is what it has to report."""

    def __init__(self, envelope: Envelope) -> None:
        self._ledger = Ledger(max_calls=envelope.calls, max_tokens=envelope.tokens)
        self.usage = NO_USAGE

    def reserve_for_model(self, characters: int) -> Reserved:
        """For a call to a model with so long a prompt; `most_tokens` is for its reply. Raises `LimitReached`."""
        left = self._ledger.tokens_left
        reply = None if left is None else left - characters // CHARACTERS_A_TOKEN
        if reply is not None and reply < SMALLEST_REPLY:
            raise LimitReached(f"{left} tokens are left: too few for a prompt of {characters} characters.")
        self._ledger, calls, tokens = self._ledger.reserve(sharers=1)
        return Reserved(calls, tokens, None if self._ledger.max_calls is None else 1, reply)

    def reserve_for_delegation(self, *, sharers: int) -> Reserved:
        """For one of so many delegations that begin together; a share is kept back. Raises `LimitReached`."""
        left = self._ledger.calls_left
        if left is not None and left <= KEPT_CALLS:
            raise LimitReached(f"No call is left to delegate: the last {left} is kept for the answer.")
        self._ledger, calls, tokens = self._ledger.reserve(sharers=sharers, later=KEPT_CALLS)
        limited = self._ledger.max_calls is not None, self._ledger.max_tokens is not None
        return Reserved(calls, tokens, calls if limited[0] else None, tokens if limited[1] else None)

    def settle(self, reserved: Reserved, used: Usage, *, booked: bool = False) -> None:
        """Gives back what was set aside, and books what was used; `booked` by a coordinator, it is not reported."""
        self._ledger = self._ledger.settle(calls=reserved.calls, tokens=reserved.tokens, usage=used)
        if not booked:
            self.usage += used
