"""Where the sources of a report can be opened."""

from __future__ import annotations

from collections.abc import Callable

from shared.report.model import NumberedSource
from shared.report.safe import web_url

Link = Callable[[NumberedSource], str]  # a safe address, or "" where a source cannot be opened


def address(source: NumberedSource) -> str:
    """The source's own address on the web; a file has none."""
    return web_url(source.location)


def source_link(prefix: str) -> Link:
    """The page that shows the passage in its place, below a prefix of our own."""
    return lambda source: f"{prefix}{source.number}"
