"""PURE: figures in words, as the console's pages show them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pydantic import JsonValue

DAY = 86_400.0


def duration(seconds: float | None) -> str:
    """`12 ms`, `3.4 s`, `2 min 5 s`, `3 h 20 min`; "" for None."""
    if seconds is None:
        return ""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    if whole < 2 * DAY:
        return f"{whole // 3_600} h" + (f" {whole % 3_600 // 60} min" if whole % 3_600 >= 60 else "")
    return f"{whole // 86_400} days"


def age(at: float | None, now: float) -> str:
    """How long ago that was; both in Unix seconds."""
    if at is None:
        return "never"
    seconds = max(0.0, now - at)
    if seconds < 5:
        return "just now"
    if seconds < 60:
        return f"{seconds // 5 * 5:.0f} s ago"
    if seconds < 3_600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < DAY:
        return f"{seconds // 3_600:.0f} h ago"
    days = int(seconds // DAY)
    return "yesterday" if days == 1 else f"{days} days ago"


def moment(at: float | None) -> str:
    """Date and time to the second, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at is not None else ""


def iso(at: float | None) -> str:
    """The same for programs, as HTML's `datetime` has it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds") if at is not None else ""


def count(number: float, one: str, more: str = "") -> str:
    """`1 step`, `1,200 steps`."""
    return f"{number:,.0f} {one if number == 1 else more or one + 's'}"


def shorten(text: str, most: int) -> str:
    """The text in one line, of at most so many characters."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def as_json(value: JsonValue, most: int) -> str:
    """A value as indented JSON, of which at most so many characters are shown."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= most else f"{text[:most]}\n… and {len(text) - most:,} more characters"


def clock(at: float) -> str:
    """Hours and minutes, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M")
