"""Writes on their way into one commit, and their outcomes on the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared import logs
from shared.db.database import Rows, Statement
from shared.errors import MusterError

BATCH = 512
POSTED_SECONDS = 0.025  # unawaited writes are delayed so long to share a commit: half the commits of a lone task

Outcome = Rows | int | None


@dataclass(frozen=True)
class Unit:
    """One write: awaited by `done`, or posted with `then`.

    With `seconds`, as much of it as fits into that time. A `checkpoint` follows its commit.
    """

    name: str
    statements: Sequence[Statement]
    done: asyncio.Future[Any] | None = None
    then: Callable[[Rows], None] | None = None
    seconds: float | None = None
    checkpoint: bool = False


def resolve(batch: Sequence[Unit], outcomes: Sequence[Outcome | MusterError]) -> None:
    """Tells everyone who waits for a unit, in order; to be called in the loop's thread."""
    for unit, outcome in zip(batch, outcomes, strict=True):
        if unit.then is not None and isinstance(outcome, list):
            try:
                unit.then(outcome)
            except Exception as exc:  # a reader of events that breaks must not keep the others from their answers
                logs.get().error("journal.reader_broke", write=unit.name, exc_info=exc)
        if unit.done is None or unit.done.done():
            continue
        if isinstance(outcome, MusterError):
            unit.done.set_exception(outcome)
        else:
            unit.done.set_result(outcome)
