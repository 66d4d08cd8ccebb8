"""Whether a URL is one that a coordinator can be asked at."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx


class NoAddress(Exception):
    """The URL is none that can be asked; the text says why."""


def http_url(url: str) -> str:
    """The URL as it is; raises `NoAddress` for what is none."""
    try:
        httpx.URL(url)
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0:
            return url
    except (httpx.InvalidURL, ValueError) as exc:
        raise NoAddress(f"{url} is no URL: {exc}.") from exc
    raise NoAddress(f"{url} is no http(s) URL.")
