"""Tasks by words of their description, newest first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from coordinator.journal.lists import TaskLine
from coordinator.journal.store import Store

MOST_WORDS = 8
LOOKED_THROUGH = 100_000  # of the newest tasks that have ended: without an index each is read
FIRST = f"""
SELECT coalesce((SELECT created_at FROM history WHERE id >= (SELECT max(id) FROM history) - {LOOKED_THROUGH}
                 ORDER BY id LIMIT 1), 0.0)
"""  # asked by itself, for a server plans the search by it

_LINE = "status, description, priority, created_at, started_at, finished_at, deadline"
_OPEN = f"""
SELECT id, {_LINE} FROM tasks
WHERE (created_at, id) < (:before_at, :before_id) AND (:status IS NULL OR status = :status)
  AND (:agent IS NULL OR EXISTS (SELECT 1 FROM steps WHERE task_id = tasks.id AND answered_by = :agent))
"""
_ENDED = f"""
SELECT task_id, {_LINE} FROM history
WHERE (created_at, task_id) < (:before_at, :before_id) AND (:status IS NULL OR status = :status)
  AND created_at >= :first
  AND (:agent IS NULL OR EXISTS (
      SELECT 1 FROM task_agents AS a WHERE a.agent = :agent AND a.status = history.status
      AND a.created_at = history.created_at AND a.task_id = history.task_id))
"""


async def search_tasks(
    store: Store,
    *,
    words: Sequence[str],
    status: str | None,
    agent: str | None,
    before: tuple[float, str] | None,
    limit: int,
) -> list[TaskLine]:
    """Tasks whose description has each of the words, or whose id begins with it; letters of ASCII in either case.

    Without words it is the store's own list, which needs no look at each task.
    """
    if not words:
        return await store.list_tasks(status=status, agent=agent, before=before, limit=limit)
    [(first,)] = await store.read(FIRST, aside=True)
    params: dict[str, object] = {
        "first": first,
        "status": status,
        "agent": agent,
        "before_at": math.inf if before is None else before[0],
        "before_id": "" if before is None else before[1],
        "limit": limit,
    }
    lines: list[TaskLine] = []
    for text, id in ((_OPEN, "id"), (_ENDED, "task_id")):
        for n, word in enumerate(words[:MOST_WORDS]):
            said = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            params |= {f"has_{n}": f"%{said}%", f"is_{n}": f"{said}%"}
            text += f"  AND (description LIKE :has_{n} ESCAPE '\\' OR {id} LIKE :is_{n} ESCAPE '\\')\n"
        text += f"ORDER BY created_at DESC, {id} DESC LIMIT :limit"
        lines += [TaskLine(*row) for row in await store.read(text, params, aside=True)]
    return sorted(lines, key=lambda line: (line.created_at, line.id), reverse=True)[:limit]
