"""What happened in a simulation, line by line: two runs of one seed have the same lines."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from pydantic_core import to_json


class Recording:
    """The history of one seed."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._closed = False
        self.lines: list[str] = []
        self.points: Counter[str] = Counter()  # named writes and sends that were passed
        self.faults: Counter[str] = Counter()

    def close(self) -> None:
        """What is taken apart afterwards is no part of it."""
        self._closed = True

    def note(self, what: str, **facts: Any) -> None:
        if self._closed:
            return
        self.lines.append(f"{self._seconds():.6f} {what} {to_json(facts, fallback=str).decode()}")

    def fault(self, kind: str, **facts: Any) -> None:
        self.faults[kind] += 1
        self.note(f"fault.{kind}", **facts)

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()
