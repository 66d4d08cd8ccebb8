"""PURE: which Host and Origin headers are accepted, against DNS rebinding from foreign web pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from shared.errors import MusterError, OriginRefused
from shared.urls import is_loopback

ALWAYS = ("localhost", "coordinator", "coordinators")  # but for the first, our names in the compose files
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?\Z")


class HostRefused(MusterError):
    """The Host header names a host that this service does not answer for."""

    status, type, title = 421, "host_refused", "Host not allowed"


def list_allowed_names(public_url: str | None, *configured: str | None) -> frozenset[str]:
    """Host names that are answered for, in lower case: our own, those of ALLOWED_HOSTS, and PUBLIC_URL's."""
    public = urlsplit(public_url).hostname if public_url else None
    names = (*ALWAYS, *(name.strip() for some in configured for name in (some or "").split(",")), public or "")
    return frozenset(name.lower() for name in names if name)


def check(host: str | None, origin: str | None, *, names: frozenset[str]) -> None:
    """Raises `HostRefused` or `OriginRefused`.

    A Host that is an IP address is taken: rebinding needs a name that the attacker owns. An Origin is taken when it is
    one of the names, a loopback address, or the Host itself.
    """
    asked = check_host(host, names=names)
    if origin is None:
        return
    scheme, _, rest = origin.partition("://")
    page = _parse_name(rest) if scheme in ("http", "https") else None
    if page is None or not (page in names or page == asked or is_loopback(page)):
        raise OriginRefused(f"Origin {origin!r} is not allowed. Add its host to ALLOWED_HOSTS.")


def check_host(host: str | None, *, names: frozenset[str]) -> str:
    """The host's name; raises `HostRefused`."""
    asked = _parse_name(host or "")
    if asked is None or not (asked in names or _is_address(asked)):
        raise HostRefused(f"Host {host!r} is not allowed. Add its name to ALLOWED_HOSTS, or set PUBLIC_URL.")
    return asked


def is_browser(headers: Mapping[bytes, str]) -> bool:
    """Whether a page in a browser may have sent these: no script can leave out all of what a browser adds.

    `Sec-Fetch-Site` comes only where the address is trusted, which a rebound one is not; `Accept-Language: *` is
    Node's own client.
    """
    agent = headers.get(b"user-agent", "").lower()
    marks = (b"sec-fetch-site", b"sec-ch-ua", b"origin")
    language = headers.get(b"accept-language", "*").strip()
    return agent.startswith("mozilla/") or language != "*" or any(mark in headers for mark in marks)


def _parse_name(host: str) -> str | None:
    """The host without its port and brackets, in lower case; None if it is not a host."""
    found = _HOST.match(host)
    return found.group(1).strip("[]").lower() if found else None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
