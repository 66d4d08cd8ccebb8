"""What a step's agent may delegate to others, what those have used, and which of them are still working."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from shared.contracts import NO_USAGE, Usage
from shared.limits.ledger import Ledger

END_SECONDS = 0.1  # for stopped delegations to book what they used; it takes a few turns of the loop


@dataclass
class Grant:
    """One step's part of its task's ledger; its agent does not report what is in `used`.

    `open` maps what stops a delegation to the future that is done once its usage is booked.
    """

    ledger: Ledger
    used: Usage = NO_USAGE
    open: dict[asyncio.Timeout, asyncio.Future[None]] = field(default_factory=dict)

    async def end(self) -> None:
        """Stops the open delegations and waits until their usage is booked."""
        for limit in self.open:
            if not limit.expired():
                limit.reschedule(0)
        if self.open:
            await asyncio.wait(self.open.values(), timeout=END_SECONDS)
