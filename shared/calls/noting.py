"""Calls of models and tools, noted with their times by the step that makes them, for whoever looks at its task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from shared.calls.call import MAX_CALLS, Call
from shared.contracts import NO_USAGE, Usage
from shared.errors import MusterError

MOST_CHARACTERS = 200  # of a name, or of what went wrong


class Notes:
    """The calls of one step; of more than `MAX_CALLS` the first are kept."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began = now()
        self.calls: list[Call] = []

    def seconds(self) -> float:
        """Since the step began."""
        return self._now() - self._began

    def add(self, call: Call) -> None:
        if len(self.calls) < MAX_CALLS:
            self.calls.append(call)


NOTES: ContextVar[Notes | None] = ContextVar("notes", default=None)


class Cost:
    """What a call has cost, told by whoever makes it."""

    usage: Usage = NO_USAGE


@contextmanager
def note(kind: Literal["model", "tool", "search"], name: str) -> Iterator[Cost]:
    """Notes the call that is made inside, whether it goes well or not; outside a step nothing is noted."""
    cost, notes = Cost(), NOTES.get()
    if notes is None:
        yield cost
        return
    at, why = notes.seconds(), None
    try:
        yield cost
    except MusterError as exc:
        why, cost.usage = exc.detail, exc.usage
        raise
    except (Exception, asyncio.CancelledError) as exc:
        why = type(exc).__name__
        raise
    finally:
        shown = None if why is None else _shorten(why)
        seconds = round(notes.seconds() - at, 6)
        notes.add(
            Call(
                kind=kind,
                name=_shorten(name),
                at=round(at, 6),
                seconds=max(0.0, seconds),
                tokens=cost.usage.tokens,
                error=shown,
            )
        )


def _shorten(text: str) -> str:
    return text[:MOST_CHARACTERS].encode(errors="replace").decode()
