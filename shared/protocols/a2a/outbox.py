"""Push notifications of A2A tasks: a table of the outbox, and its pruning."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import httpx

from shared import logs
from shared.db.database import Database, Statement
from shared.db.outbox import Letter, is_due, post
from shared.errors import StorageUnwritable
from shared.protocols.a2a import sql

PRUNE_SECONDS = 60.0
KEPT_SECONDS = 600.0  # events, for those who follow a task at another process
KEPT_TASKS = 10_000  # that have ended; older ones are deleted


class Pushes:
    """The outbox's table of A2A pushes: each hook gets one at a time, the oldest first, and waits for no other hook.

    `client_for` gives the HTTP client that may call a URL.
    """

    def __init__(self, db: Database, client_for: Callable[[str], httpx.AsyncClient]) -> None:
        self._db = db
        self._client_for = client_for

    async def find_due(self, now: float, limit: int) -> tuple[Sequence[Letter], float | None]:
        rows = await self._db.read(sql.NEXT, {"limit": limit, "now": now})
        letters = [
            Letter(task, url, attempts, hook, seq)
            for seq, task, hook, due, attempts, url in rows
            if is_due(due, attempts, now=now)
        ]
        return letters, next((due for *_, due, attempts, _ in rows if not is_due(due, attempts, now=now)), None)

    async def claim(self, letter: Letter, *, now: float, until: float) -> bool:
        row = {"seq": letter.seq, "now": now, "until": until}
        return not self._db.shared or await self._db.write("a2a.claim", Statement(sql.CLAIM, row)) is not None

    async def post(self, letter: Letter) -> tuple[str | None, bool]:
        for headers, body in await self._db.read(sql.UNTOLD, {"seq": letter.seq}):
            assert letter.url is not None, "read with its hook"
            return await post(self._client_for(letter.url), letter.url, body, json.loads(headers))
        return None, False  # its hook was deleted

    async def record(self, letter: Letter, *, attempts: int, error: str | None, next_at: float | None) -> None:
        if next_at is not None:
            row = {"seq": letter.seq, "attempts": attempts, "due": next_at}
            await self._db.write("a2a.again", Statement(sql.AGAIN, row))
            return
        if error is not None:
            host = urlsplit(letter.url or "").hostname
            logs.get().warning("push.given_up", task_id=letter.task_id, host=host, why=error)
        await self._db.write("a2a.told", Statement(sql.TOLD, {"seq": letter.seq}))


async def prune_forever(db: Database, *, wall: Callable[[], float] = time.time) -> None:
    """Deletes the oldest ended tasks beyond `KEPT_TASKS`, and old events, once a minute."""
    guard = Statement("SELECT 1")
    while True:
        await asyncio.sleep(PRUNE_SECONDS)
        with contextlib.suppress(StorageUnwritable):  # the next try comes in a minute
            await db.write("a2a.prune", guard, *(Statement(one, {"kept": KEPT_TASKS}) for one in sql.PRUNE))
            if db.shared:
                before = wall() - KEPT_SECONDS
                await db.write("a2a.prune_events", Statement(sql.DROP_EVENTS, {"before": before}))
