"""Checks that a URL can be a coordinator's."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from shared.urls import is_http_url


class NoAddress(Exception):
    """The URL is none that can be asked; the text says why."""


def http_url(url: str) -> str:
    """The URL as it is; raises `NoAddress` for what is none."""
    try:
        _ = httpx.URL(url), urlsplit(url)
    except (httpx.InvalidURL, ValueError) as exc:
        raise NoAddress(f"{url} is not a valid URL: {exc}.") from exc
    if not is_http_url(url):
        raise NoAddress(f"{url} is not an http(s) URL.")
    return url
