"""Delivers ended tasks to their `webhook_url`: from a durable outbox, retried, to checked addresses only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import httpx

from coordinator.journal import sql
from coordinator.journal.events import TaskEvent
from coordinator.journal.store import Store
from coordinator.reports.view import view
from shared.db.database import Statement
from shared.db.outbox import Letter, Outbox, post
from shared.failpoints import At

AT_ONE_RECEIVER = 4  # at one host and port


class Webhooks:
    """Posts the TaskView; a receiver may get it twice, with the same `Idempotency-Key` (the task's id)."""

    def __init__(
        self,
        store: Store,
        http: httpx.AsyncClient,
        base: str,
        *,
        wall: Callable[[], float],
        now: Callable[[], float],
        random: Random,
        at: At,
    ) -> None:
        table = _Table(store, http, base, wall, at)
        self._outbox = Outbox(
            table, wall=wall, now=now, random=random, at_one_receiver=AT_ONE_RECEIVER, shared=store.shared
        )
        self.run = self._outbox.run

    def notice(self, event: TaskEvent) -> None:
        """A reader of events: a task's end may have put something into the outbox."""
        if event.type == "task.finished" and event.fields.get("webhook"):
            self._outbox.look()


class _Table:
    """The journal's table of webhooks."""

    def __init__(self, store: Store, http: httpx.AsyncClient, base: str, wall: Callable[[], float], at: At) -> None:
        self._store = store
        self._http = http
        self._base = base
        self._wall = wall
        self._at = at

    async def find_due(self, now: float, limit: int) -> tuple[Sequence[Letter], float | None]:
        letters = [Letter(*row) for row in await self._store.due_webhooks(now=now, limit=limit)]
        return letters, await self._store.next_webhook(now=now)

    async def claim(self, letter: Letter, *, now: float, until: float) -> bool:
        row = {"task_id": letter.task_id, "now": now, "until": until}
        return not self._store.shared or await self._store.write(
            "store.claim_webhook", Statement(sql.CLAIM_WEBHOOK, row)
        )

    async def post(self, letter: Letter) -> tuple[str | None, bool]:
        task = await self._store.task(letter.task_id)
        if task is None or letter.url is None:
            return None, False
        self._at("send.webhook.before")
        key = {"Idempotency-Key": letter.task_id}
        return await post(self._http, letter.url, view(task, self._base).model_dump_json(), key)

    async def record(self, letter: Letter, *, attempts: int, error: str | None, next_at: float | None) -> None:
        await self._store.move_webhook(
            letter.task_id,
            attempts=attempts,
            next_at=next_at,
            delivered_at=self._wall() if error is None else None,
            error=error,
        )
