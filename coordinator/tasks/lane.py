"""PURE: whose a task is, for a fair queue; which idempotency keys it knows is another thing (`Task.tenant`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lane:
    """One queue of tasks: `key` is a key's name, None where there are none; `tenant` divides the key's share."""

    key: str | None = None
    tenant: str | None = None


NO_LANE = Lane()
