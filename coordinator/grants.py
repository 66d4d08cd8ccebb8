"""PURE: what the agent that works on a step may hand on to others, and what those have used."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contracts import NO_USAGE, Usage
from shared.ledger import Ledger


@dataclass
class Grant:
    """One step's part of its task's ledger; `used` comes on top of what its own agent reports."""

    ledger: Ledger
    used: Usage = NO_USAGE
