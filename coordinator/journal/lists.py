"""PURE: lists of tasks, newest first, as queries that each use an index, and their results."""

from __future__ import annotations

import math
from typing import NamedTuple

from coordinator.journal import sql
from coordinator.tasks.task import ENDED
from shared.db.database import Query, Rows


class TaskLine(NamedTuple):
    """A task in a list."""

    id: str
    status: str
    description: str
    priority: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    deadline: float


def make_queries(
    *, status: str | None, agent: str | None, since: float | None, before: tuple[float, str] | None, limit: int
) -> list[Query]:
    """What is asked for a page: of the tasks that have not ended, and of the history, each `limit` lines at most."""
    params = {
        "status": status,
        "agent": agent,
        "since": -math.inf if since is None else since,
        "before_at": math.inf if before is None else before[0],
        "before_id": "" if before is None else before[1],
        "limit": limit,
    }
    ended: list[tuple[str, str | None]]
    if agent is not None:
        ended = [(sql.LIST_BY_AGENT, one) for one in ([status] if status is not None else sorted(ENDED))]
    else:
        ended = [(sql.LIST_ENDED if status is None else sql.LIST_BY_STATUS, status)]
    return [Query(sql.LIST_OPEN, params), *(Query(text, params | {"status": one}) for text, one in ended)]


def make_page(found: Rows, *, limit: int) -> list[TaskLine]:
    """The answers as one list."""
    lines = (TaskLine(*row) for rows in found for row in rows)
    return sorted(lines, key=lambda line: (line.created_at, line.id), reverse=True)[:limit]
