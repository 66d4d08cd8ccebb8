"""PURE: the caller of a request: the key that it sent, and what that key may do."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from coordinator.access.scopes import ALL, Scope

TENANT = "Muster-Tenant"  # the header that names the caller's own customer, for a fair queue


@dataclass(frozen=True)
class Caller:
    """`key` is the name of the key that was sent, None where there are none; `owner` is whose names it registers."""

    key: str | None
    address: str
    scopes: frozenset[Scope] = ALL
    owner: str | None = None
    tenant: str | None = None  # as it was sent

    @property
    def may_administer(self) -> bool:
        """Whether its key has the scope `admin`. Without keys no caller may administer."""
        return self.key is not None and Scope.ADMIN in self.scopes


asking: ContextVar[Caller | None] = ContextVar("asking", default=None)  # who sent the request that is being answered
