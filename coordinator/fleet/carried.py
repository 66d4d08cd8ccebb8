"""What the journal says of who carries a task: taken up, handed back, wished to end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic_core import to_json

from coordinator.fleet.members import GONE_SECONDS
from coordinator.journal.store import Store
from shared.db.database import Statement

_TAKE = """
UPDATE tasks SET carrier = :carrier WHERE id = :id AND finished_at IS NULL
"""
_HAND_BACK = "UPDATE tasks SET carrier = NULL, takes = takes - :counted WHERE id = :id AND carrier = :carrier"
_COUNT = """
UPDATE tasks SET takes = takes + 1 WHERE id IN (SELECT json_array_elements_text(:ids::text::json))
"""
_WISH = "UPDATE tasks SET cancelled = TRUE WHERE id = :id AND finished_at IS NULL"
_STATE = """
SELECT takes, cancelled, (SELECT max(id) FROM events WHERE task_id = :id),
       (SELECT count(*) FROM steps WHERE task_id = :id AND finished_at IS NOT NULL)
FROM tasks WHERE id = :id
"""
_CARRIER = """
SELECT c.address FROM tasks AS t JOIN coordinators AS c ON c.id = t.carrier WHERE t.id = :id AND c.id <> :carrier
"""
_LOST = """
SELECT id FROM tasks WHERE id IN (SELECT json_array_elements_text(:ids::text::json)) AND carrier <> :carrier
"""
_MINE = "SELECT id FROM tasks WHERE carrier = :carrier AND finished_at IS NULL"
_QUEUED = """
SELECT id FROM tasks WHERE id IN (SELECT json_array_elements_text(:ids::text::json)) AND carrier IS NULL
"""
_OVERDUE = """
SELECT id FROM tasks AS t WHERE finished_at IS NULL AND deadline < :now
AND NOT EXISTS (SELECT 1 FROM coordinators AS c WHERE c.id = t.carrier AND c.at > :since) ORDER BY deadline LIMIT 200
"""


@dataclass(frozen=True)
class TakenUp:
    """A task as it is taken up: how often that was, whether it is to end, and where its events have come to."""

    takes: int
    cancelled: bool
    last_event: int
    ended_steps: int


class Carried:
    """The journal's columns of who carries what; `carrier` is this coordinator's id."""

    def __init__(self, store: Store, carrier: str) -> None:
        self._store = store
        self._carrier = carrier

    async def take(self, task_id: str) -> TakenUp | None:
        """Says that this coordinator carries the task; None if it has ended."""
        row = {"id": task_id, "carrier": self._carrier}
        if not await self._store.write("store.take", Statement(_TAKE, row)):
            return None
        found = await self._store.read(_STATE, {"id": task_id})
        return TakenUp(found[0][0], found[0][1], found[0][2] or 0, found[0][3]) if found else None

    def count(self, ids: Iterable[str]) -> None:
        """From now on, a death of this coordinator counts against these tasks."""
        self._store.post("store.count_takes", Statement(_COUNT, {"ids": to_json([*ids]).decode()}))

    def hand_back(self, task_id: str, *, counted: bool) -> None:
        """Says that this coordinator stops, through no fault of the task."""
        row = {"id": task_id, "carrier": self._carrier, "counted": int(counted)}
        self._store.post("store.hand_back", Statement(_HAND_BACK, row))

    async def wish_cancelled(self, task_id: str) -> bool:
        """Whoever carries the task from now on ends it; False if it has ended."""
        return await self._store.write("store.wish_cancelled", Statement(_WISH, {"id": task_id}))

    async def find_address(self, task_id: str) -> str | None:
        """The address of another coordinator that carries the task, if one does."""
        found = await self._store.read(_CARRIER, {"id": task_id, "carrier": self._carrier})
        return found[0][0] if found else None

    async def find_lost(self, ids: Iterable[str]) -> list[str]:
        """Those that another coordinator has taken up since."""
        return await self._among(_LOST, ids)

    async def find_mine(self) -> set[str]:
        """Those that this coordinator carries, as the journal says."""
        return {row[0] for row in await self._store.read(_MINE, {"carrier": self._carrier})}

    async def find_queued(self, ids: Iterable[str]) -> list[str]:
        """Those that nobody carries yet."""
        return await self._among(_QUEUED, ids)

    async def find_overdue(self, now: float) -> list[str]:
        """Tasks that no living coordinator carries and whose deadline is over: those that wait may be many."""
        return [row[0] for row in await self._store.read(_OVERDUE, {"now": now, "since": now - GONE_SECONDS})]

    async def _among(self, text: str, ids: Iterable[str]) -> list[str]:
        asked = to_json([*ids]).decode()
        if asked == "[]":
            return []
        return [row[0] for row in await self._store.read(text, {"ids": asked, "carrier": self._carrier})]
