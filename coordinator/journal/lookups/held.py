"""What agents work on now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from coordinator.journal.store import Store

_RUNNING = """
SELECT s.instance, s.task_id, s.step_id, s.started_at, substr(t.description, 1, 200)
FROM tasks AS t JOIN steps AS s ON s.task_id = t.id
WHERE s.status = 'running' AND s.instance IS NOT NULL AND (:instance IS NULL OR s.instance = :instance)
ORDER BY s.started_at
"""


class HeldStep(NamedTuple):
    """A step that an agent works on, since `started_at` (Unix seconds)."""

    task_id: str
    step_id: str
    started_at: float
    description: str


async def find_held(store: Store, agent_id: str | None = None) -> Mapping[str, list[HeldStep]]:
    """Steps that run, by the id of the instance that has them: of all, or of one."""
    found: defaultdict[str, list[HeldStep]] = defaultdict(list)
    for instance, *step in await store.read(_RUNNING, {"instance": agent_id}, aside=True):
        found[instance].append(HeldStep(*step))
    return found
