"""Finds the tasks that were at work each time the coordinator died: one of them may be what it dies of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from pydantic_core import from_json, to_json

from coordinator.journal import sql
from coordinator.tasks.task import Task
from shared.db.database import Database, Statement
from shared.errors import StorageUnwritable

MOST_DEATHS = 3  # of the coordinator, with the same task at work
BLAMED_AFTER_SECONDS = 3.0  # a start that dies sooner has not carried any task: whoever killed it did so on purpose
_KEY = "starts"


class Starts:
    """Keeps in the journal how many deaths each task at work has seen since one of its steps ended.

    A death is a start that ends without a stop after 3 seconds or more.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._deaths: dict[str, tuple[int, int]] = {}  # by task id: deaths, and steps that had ended

    async def begin(self, tasks: Iterable[Task]) -> set[str]:
        """Notes a start with these open tasks; ids of those at work in three starts that died and let no step end."""
        rows = await self._db.read(sql.GET_META, {"key": _KEY})
        before: dict[str, Any] = from_json(rows[0][0]) if rows else {"blamed": False, "deaths": {}}
        for task in tasks:
            if task.started_at is not None:  # for one that waits, nothing was done
                ended = sum(step.ended for step in task.steps)
                deaths, had_ended = before["deaths"].get(task.id, (-1, ended))
                self._deaths[task.id] = (deaths + before["blamed"] if deaths >= 0 and ended == had_ended else 0, ended)
        await self._write(blamed=False)
        return {id for id, (deaths, _) in self._deaths.items() if deaths >= MOST_DEATHS}

    async def blame_later(self) -> None:
        """From now on, a death of this start counts."""
        await asyncio.sleep(BLAMED_AFTER_SECONDS)
        await self._write(blamed=True)

    async def end(self) -> None:
        """Notes that this start ends with a stop."""
        await self._write(blamed=False)

    async def _write(self, *, blamed: bool) -> None:
        value = to_json({"blamed": blamed, "deaths": self._deaths}).decode()
        with suppress(StorageUnwritable):  # the journal says so itself
            await self._db.write("store.starts", Statement(sql.SET_META, {"key": _KEY, "value": value}))
