"""Who may ask: bearer keys, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from shared.errors import Unauthorized

OPEN_PATHS = frozenset({"/health", "/ready", "/.well-known/agent-card.json"})


def bearer_check(key: str | None) -> Callable[[str, str | None], None]:
    """A check `(path, authorization header)` that raises `Unauthorized`; without a key everybody may ask."""

    def check(path: str, authorization: str | None) -> None:
        if key is None or path in OPEN_PATHS:
            return
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), key.encode()):
            raise Unauthorized("Send 'Authorization: Bearer <API_KEY>'.")

    return check
