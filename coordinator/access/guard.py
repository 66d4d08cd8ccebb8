"""The check of every request: which key it carries, and whether that key opens its route."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from starlette.types import Scope as Request

from coordinator.access import hosts
from coordinator.access.audit import Audit
from coordinator.access.caller import TENANT, Caller, asking
from coordinator.access.keys import Keys
from coordinator.access.scopes import accepted, is_for_people
from shared.errors import ScopeRefused, Unauthorized
from shared.server.auth import OPEN_PATHS

TENANT_HEADER = TENANT.lower().encode()
CALLER = "muster.caller"  # where the caller stands in a request's scope


class Guard:
    """Knows the keys, and writes down what it refuses; `names` are hosts that browsers may ask without a key."""

    def __init__(self, keys: Keys, audit: Audit, *, names: frozenset[str] = frozenset()) -> None:
        self._keys = keys
        self._audit = audit
        self._names = names

    def __call__(self, request: Request, headers: Mapping[bytes, str]) -> bool:
        """Sets the request's caller, and says whether everybody may ask.

        Raises `HostRefused`, `Unauthorized` and `ScopeRefused`.
        """
        client = request.get("client")
        address = client[0] if client else ""
        if not self._keys.wanted:
            if hosts.is_browser(headers):
                hosts.check_host(headers.get(b"host"), names=self._names)
            caller = request[CALLER] = Caller(None, address, tenant=headers.get(TENANT_HEADER))
            asking.set(caller)
            return True
        method, path = request["method"], request["path"]
        if path in OPEN_PATHS:
            return False
        if is_for_people(method, path):  # they log in there; the key that they have then sets the caller
            request[CALLER] = Caller(None, address, frozenset())
            return True
        scheme, _, given = headers.get(b"authorization", "").partition(" ")
        key = self._keys.find(given.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            self._audit.write("key_refused", Caller(None, address), method=method, path=path, sent=bool(given))
            raise Unauthorized("Send 'Authorization: Bearer <API_KEY>'.")
        structlog.contextvars.bind_contextvars(caller=key.name)  # in every line of this request
        caller = request[CALLER] = Caller(key.name, address, key.scopes, key.owner, headers.get(TENANT_HEADER))
        asking.set(caller)
        wanted = accepted(method, path)
        if not wanted & key.scopes:
            scopes = " or ".join(sorted(wanted))
            self._audit.write("scope_refused", caller, method=method, path=path, needs=scopes)
            raise ScopeRefused(f"This request needs the scope {scopes}; the key {key.name!r} does not have it.")
        self._audit.write_use(caller, scope=min(wanted & key.scopes), method=method, path=path)
        return False


def caller_of(request: Request) -> Caller:
    """Who sent this request, of which the guard has taken note."""
    caller: Caller = request[CALLER]
    return caller
