"""What a step's agent may delegate to others, what those have used, and which of them are still working."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from shared.contracts import NO_USAGE, Usage
from shared.limits.ledger import Ledger

END_SECONDS = 0.1  # that what is stopped may take to book what it has used; it takes a few turns of the loop


@dataclass
class Grant:
    """One step's part of its task's ledger; `used` comes on top of what its own agent reports.

    `open` are its delegations: what stops each, and what is done when it is booked.
    """

    ledger: Ledger
    used: Usage = NO_USAGE
    open: dict[asyncio.Timeout, asyncio.Future[None]] = field(default_factory=dict)

    async def end(self) -> None:
        """Stops the delegations that are open and waits until they are booked."""
        for limit in self.open:
            if not limit.expired():
                limit.reschedule(0)
        if self.open:
            await asyncio.wait(self.open.values(), timeout=END_SECONDS)
