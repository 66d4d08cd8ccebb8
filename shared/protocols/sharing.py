"""What several processes of one service have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from shared.db.database import Database


@dataclass(frozen=True)
class Shared:
    """A database, its clock and its news; `id` is this process's.

    A process without a sign of life for `gone_seconds` is gone. `watch` yields what waits until somebody has written
    about a task, at most a second; `wall` is in Unix seconds.
    """

    id: str
    db: Database
    wall: Callable[[], float]
    gone_seconds: float
    watch: Callable[[str], AbstractContextManager[Callable[[], Awaitable[None]]]]
