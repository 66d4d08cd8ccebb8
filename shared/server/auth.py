"""Authentication: bearer keys, compared in constant time; without a key, cross-origin requests are refused."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from shared.errors import OriginRefused, Unauthorized
from shared.urls import is_loopback

OPEN_PATHS = frozenset({"/health", "/ready", "/.well-known/agent-card.json"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
STRICTER_PATHS = frozenset({"/mcp", "/mcp/"})  # have a check of their own, with names that a setting allows


def make_bearer_check(key: str | None) -> Callable[[str, str | None], None]:
    """A check `(path, authorization header)` that raises `Unauthorized`; without a key every call passes."""

    def check(path: str, authorization: str | None) -> None:
        if key is None or path in OPEN_PATHS:
            return
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), key.encode()):
            raise Unauthorized("Send 'Authorization: Bearer <API_KEY>'.")

    return check


def check_page(method: str, path: str, headers: Mapping[bytes, str]) -> None:
    """Raises `OriginRefused` for a call that changes something and comes from a web page of another site.

    A browser sends such calls wherever a page likes, with `Origin` as the page's address; `Sec-Fetch-Site` says what
    the browser makes of it, also where a proxy has changed the Host. Pages of this host and of this machine may ask.
    """
    origin = headers.get(b"origin")
    if origin is None or method in READING or path in STRICTER_PATHS:
        return
    if headers.get(b"sec-fetch-site") in ("same-origin", "none"):
        return
    page = _parse_host(origin)
    if page is None or not (page == _parse_host(f"//{headers.get(b'host', '')}") or is_loopback(page)):
        raise OriginRefused(
            f"Cross-origin request from {origin!r} refused. Set API_KEY, and send the key with the request."
        )


def _parse_host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
