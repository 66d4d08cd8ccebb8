"""Delivers ended tasks to their `webhook_url`: from a durable outbox, retried, to checked addresses only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import httpx

from coordinator.events import TaskEvent
from coordinator.store import Store
from coordinator.view import view
from shared import logs
from shared.errors import StorageFull
from shared.failpoints import At

MAX_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 1.0  # doubled each time: the eighth attempt comes about two minutes after the first
SEND_SECONDS = 10.0
AT_ONCE = 16
LOOK_SECONDS = 60.0  # between two looks when nothing is due


class Webhooks:
    """Posts the TaskView; a receiver may get it twice, with the same `Idempotency-Key` (the task's id)."""

    def __init__(
        self, store: Store, http: httpx.AsyncClient, *, wall: Callable[[], float], random: Random, at: At
    ) -> None:
        self._store = store
        self._http = http
        self._wall = wall
        self._random = random
        self._at = at
        self._news = asyncio.Event()

    def read(self, event: TaskEvent) -> None:
        """A reader of events: a task's end may have put something into the outbox."""
        if event.type == "task.finished":
            self._news.set()

    async def run(self) -> None:
        """Delivers for ever."""
        while True:
            self._news.clear()
            try:
                while due := await self._store.due_webhooks(now=self._wall(), limit=AT_ONCE):
                    await asyncio.gather(*(self._deliver(*one) for one in due))
                await self._pause(await self._store.next_webhook())
            except StorageFull:
                logs.get().warning("journal.full")
                await asyncio.sleep(1.0)

    async def _pause(self, next_at: float | None) -> None:
        seconds = LOOK_SECONDS if next_at is None else min(LOOK_SECONDS, max(0.01, next_at - self._wall()))
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    async def _deliver(self, task_id: str, url: str, attempts: int) -> None:
        error = await self._sent(task_id, url)
        attempts += 1
        again = error is not None and attempts < MAX_ATTEMPTS
        pause = FIRST_PAUSE_SECONDS * 2.0 ** (attempts - 1) * (0.8 + 0.4 * self._random.random())
        await self._store.move_webhook(
            task_id,
            attempts=attempts,
            next_at=self._wall() + pause if again else None,
            delivered_at=self._wall() if error is None else None,
            error=error,
        )

    async def _sent(self, task_id: str, url: str) -> str | None:
        task = await self._store.task(task_id)
        if task is None:
            return None
        self._at("send.webhook.before")
        try:
            answer = await self._http.post(
                url,
                content=view(task).model_dump_json(),
                headers={"Content-Type": "application/json", "Idempotency-Key": task_id},
                extensions={"deadline": SEND_SECONDS, "max_bytes": 65_536},
            )
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            return f"{type(exc).__name__}: {exc}"
        return None if answer.is_success else f"HTTP {answer.status_code}"
