"""Server-sent events (WHATWG HTML, section 9.2) as bytes."""

from __future__ import annotations

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
PING = b": ping\n\n"


def format_event(name: str, data: str, *, id: int | None = None) -> bytes:
    """One event; `data` must be one line, as compact JSON is."""
    head = f"id: {id}\n" if id is not None else ""
    return f"{head}event: {name}\ndata: {data}\n\n".encode()


def accepts(accept: str | None) -> bool:
    """Whether an Accept header asks for an event stream."""
    return MEDIA_TYPE in (accept or "")
