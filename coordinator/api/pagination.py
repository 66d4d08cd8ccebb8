"""PURE: pagination: cursors that a client hands back, and times as they are shown."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from shared.errors import BadRequest


def utc(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


def cursor(*values: str) -> str:
    """An opaque place in a list; `decode_cursor` gives the values back."""
    return base64.urlsafe_b64encode("\x00".join(values).encode()).decode()


def decode_cursor(cursor: str, count: int) -> list[str]:
    """The values of a cursor; raises `BadRequest` for an invalid one."""
    try:
        values = base64.urlsafe_b64decode(cursor).decode().split("\x00")
    except ValueError as exc:
        raise BadRequest("Invalid cursor. Send the `next_cursor` of the previous page unchanged.") from exc
    if len(values) != count:
        raise BadRequest("Invalid cursor. Send the `next_cursor` of the previous page unchanged.")
    return values
