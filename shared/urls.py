"""PURE: which texts are URLs that Muster may be given, and which hosts are this machine."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_http_url(value: str) -> bool:
    """Whether it is an http or https URL with a host, and with no port that cannot be."""
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def http_url(value: str) -> str:
    """The URL itself, from an untrusted source. Raises ValueError with what is wrong with it."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as exc:
        raise ValueError(f"is not a valid URL: {exc}") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL with a host")
    if parts.username or parts.password:
        raise ValueError("must not contain a user name or password")
    if any(c.isspace() or ord(c) < 32 for c in value) or port == 0:
        raise ValueError("must not contain spaces, control characters or port 0")
    return value


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine, by its own words (RFC 6761, section 6.3, for names)."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return f".{host.lower().rstrip('.')}".endswith(".localhost")


def base_url(value: str) -> str:
    """An HTTP URL that paths can be added to, without a slash at its end; raises ValueError for another text."""
    if "?" in value or "#" in value:
        raise ValueError("must not contain a query or a fragment")
    return http_url(value).rstrip("/")
