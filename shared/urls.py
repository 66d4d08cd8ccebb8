"""PURE: which texts are URLs that Muster may be given."""

from __future__ import annotations

from urllib.parse import urlsplit


def http_url(value: str) -> str:
    """The value itself. Raises ValueError with what is wrong with it."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as exc:
        raise ValueError(f"is no URL: {exc}") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL with a host")
    if parts.username or parts.password:
        raise ValueError("must not carry a user name or password")
    if any(c.isspace() or ord(c) < 32 for c in value) or port == 0:
        raise ValueError("must not contain spaces, control characters or port 0")
    return value
