"""The ledger against a plain count: steps reserve, report, and settle in any order, well-behaved or not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.contracts import NO_USAGE, Usage
from shared.errors import LimitReached
from shared.limits.ledger import Ledger

LIMIT = st.one_of(st.none(), st.integers(1, 40))


@dataclass
class Reserved:
    """What one step at work has set aside."""

    calls: int
    tokens: int


class LedgerLife(RuleBasedStateMachine):
    """A task whose steps share its calls and tokens."""

    @initialize(calls=LIMIT, tokens=LIMIT)
    def begin(self, calls: int | None, tokens: int | None) -> None:
        self.ledger = Ledger(max_calls=calls, max_tokens=tokens)
        self.working: list[Reserved] = []
        self.used = NO_USAGE
        self.beyond = NO_USAGE  # what steps used over what they had set aside

    @rule(sharers=st.integers(0, 8), later=st.integers(0, 8), most=LIMIT)
    def reserve(self, sharers: int, later: int, most: int | None) -> None:
        """One gets at least one call and one token, or is refused because nothing is left."""
        left = [n for n in (self.ledger.calls_left, self.ledger.tokens_left) if n is not None]
        if any(n <= 0 for n in left):
            with pytest.raises(LimitReached):
                self.ledger.reserve(sharers=sharers, later=later, most_calls=most, most_tokens=most)
            return
        self.ledger, calls, tokens = self.ledger.reserve(
            sharers=sharers, later=later, most_calls=most, most_tokens=most
        )
        assert (calls > 0) == (self.ledger.max_calls is not None)
        assert (tokens > 0) == (self.ledger.max_tokens is not None)
        self.working.append(Reserved(calls, tokens))

    @precondition(lambda self: self.working)
    @rule(n=st.integers(0, 20), calls=st.integers(0, 9), tokens=st.integers(0, 9), again=st.booleans())
    def end(self, n: int, calls: int, tokens: int, again: bool) -> None:
        """A step ends; with `again` it has been booked in part before, as a restart does."""
        step = self.working.pop(n % len(self.working))
        usage = Usage(calls=calls, input_tokens=tokens, output_tokens=0)
        before = Usage(calls=calls // 2, input_tokens=tokens // 2, output_tokens=0) if again else NO_USAGE
        if again:
            self.ledger = self.ledger.settle(calls=0, tokens=0, usage=before)
        self.ledger = self.ledger.settle(calls=step.calls, tokens=step.tokens, usage=usage, before=before)
        self.used = self.used + usage
        over = Usage(calls=max(0, calls - step.calls), input_tokens=max(0, tokens - step.tokens), output_tokens=0)
        self.beyond = self.beyond + over

    @invariant()
    def nothing_is_lost(self) -> None:
        """Everything used is booked once, and everything set aside belongs to a step at work."""
        assert (self.ledger.spent_calls, self.ledger.spent_tokens) == (self.used.calls, self.used.tokens)
        assert self.ledger.reserved_calls == sum(step.calls for step in self.working)
        assert self.ledger.reserved_tokens == sum(step.tokens for step in self.working)

    @invariant()
    def the_limit_holds(self) -> None:
        """Only a step that uses more than it had set aside can bring its task over the limit."""
        if self.ledger.max_calls is not None:
            assert self.ledger.spent_calls + self.ledger.reserved_calls <= self.ledger.max_calls + self.beyond.calls
        if self.ledger.max_tokens is not None:
            assert self.ledger.spent_tokens + self.ledger.reserved_tokens <= self.ledger.max_tokens + self.beyond.tokens


TestLedgerLife = LedgerLife.TestCase
TestLedgerLife.settings = settings(max_examples=settings.default.max_examples, stateful_step_count=40)
