"""Which paths need no key, and the refusal of calls from web pages of other sites where no key is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from starlette.types import Scope

from shared.errors import OriginRefused
from shared.urls import is_loopback

OPEN_PATHS = frozenset({"/health", "/ready", "/.well-known/agent-card.json"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
STRICTER_PATHS = frozenset({"/mcp", "/mcp/"})  # have a check of their own, with names that a setting allows


Check = Callable[[Scope, Mapping[bytes, str]], bool]  # raises for a caller without the right key; True: none is wanted


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
