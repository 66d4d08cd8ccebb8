"""Pages from the web, read for what their authors wrote."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx

from workers.providers.calls import USER_AGENT
from workers.reading import readers
from workers.reading.documents.document import Document, strip_anchors
from workers.reading.documents.leftout import Unreadable

MAX_BYTES = 3_000_000
MAX_HTML_BYTES = 1_500_000  # more is a list or a log
MAX_REDIRECTS = 5
KINDS = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "application/pdf": ".pdf",
}


class Unusable(Exception):
    """A page that cannot be fetched or has no text; the message says why, without a full stop."""


async def page(http: httpx.AsyncClient, url: str, threads: ThreadPoolExecutor, *, seconds: float) -> Document:
    """The page's main text by its headings. Raises Unusable; `seconds` bound fetching and reading together."""
    try:
        async with asyncio.timeout(seconds):
            data, suffix, encoding = await _fetch(http, url)
            loop = asyncio.get_running_loop()
            # Not cancelled at the time-out: the thread ends by itself, seconds later, its result unused.
            document = await loop.run_in_executor(threads, _parse_page, data, suffix, encoding)
    except (TimeoutError, httpx.TimeoutException) as exc:
        raise Unusable(f"could not be fetched and read within {seconds:.1f} s") from exc
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as exc:
        raise Unusable(f"cannot be fetched ({exc or type(exc).__name__})") from exc
    if not document.sections:
        raise Unusable(document.note or "has no text in it")
    return document


async def _fetch(http: httpx.AsyncClient, url: str) -> tuple[bytes, str, str | None]:
    for _ in range(MAX_REDIRECTS):
        async with http.stream("GET", url, headers={"User-Agent": USER_AGENT}) as answer:
            if answer.has_redirect_location:
                url = str(answer.url.join(answer.headers["location"]))
                continue
            if answer.status_code != 200:
                raise Unusable(f"answered HTTP {answer.status_code}")
            declared = answer.headers.get("content-type", "text/html").split(";")[0].strip().lower()
            if declared not in KINDS:
                raise Unusable(f"is {declared}, which is not supported")
            suffix = KINDS[declared]
            cap = MAX_HTML_BYTES if suffix == ".html" else MAX_BYTES
            data = bytearray()
            async for piece in answer.aiter_bytes():
                data += piece
                if len(data) > cap:
                    raise Unusable(f"is larger than {cap / 1_000_000:g} MB")
            return bytes(data), suffix, answer.charset_encoding
    raise Unusable("redirects too many times")


def _parse_page(data: bytes, suffix: str, encoding: str | None) -> Document:
    """Runs in a thread; any failure of a reader is a page that has no text."""
    try:
        document = readers.parse(data, suffix, encoding)
    except Unreadable as exc:
        return Document("", (), str(exc))
    except Exception as exc:  # a page from anywhere must not end the search
        return Document("", (), f"cannot be read ({type(exc).__name__})")
    return document if suffix == ".pdf" else strip_anchors(document)
