"""Where a replay went another way than what was recorded, each with a diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

MOST_LINES = 40  # of one diff that are shown
_TIMED = {
    "calls",
    "seconds",
    "deadline",
    "boot",
    "lane",
    "after_seconds",
    "wait_seconds",
}  # of an event, that differ in every run


@dataclass(frozen=True)
class Difference:
    """One place where the replay diverged: which, what is different, and both sides as JSON."""

    where: str
    what: str
    recorded: Any = None
    replayed: Any = None

    def write(self) -> str:
        """For people: a sentence, and the lines that differ."""
        lines = list(diff(self.recorded, self.replayed))
        shown = lines[:MOST_LINES]
        if len(lines) > MOST_LINES:
            shown.append(f"… {len(lines) - MOST_LINES} more lines")
        return "\n".join([f"{self.where}: {self.what}", *(f"  {line}" for line in shown)])


def as_json(value: Any) -> Any:
    """The value as it comes back from JSON."""
    return from_json(to_json(value, fallback=str))


def diff(recorded: Any, replayed: Any) -> Iterable[str]:
    """The lines of both that differ, as `diff -u` writes them."""
    before, after = _write(recorded), _write(replayed)
    return difflib.unified_diff(before, after, "recorded", "replayed", n=1, lineterm="")


def strip_times(type: str, data: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """An event as it has to be again."""
    return type, {name: value for name, value in data.items() if name not in _TIMED}


def _write(value: Any) -> list[str]:
    text = value if isinstance(value, str) else to_json(value, indent=2, fallback=str).decode()
    return text.splitlines()
