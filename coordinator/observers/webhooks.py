"""Delivers ended tasks to their `webhook_url`: from a durable outbox, retried, to checked addresses only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from urllib.parse import urlsplit

import httpx

from coordinator.journal.events import TaskEvent
from coordinator.journal.store import Store
from coordinator.reports.view import view
from shared import logs
from shared.errors import StorageFull
from shared.failpoints import At

MAX_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 1.0  # doubled each time: the eighth attempt comes about two minutes after the first
SEND_SECONDS = 10.0
AT_ONCE = 16
AT_ONE_RECEIVER = 4  # of them at one host and port
LOOKED_AT = 500  # that are due, for some to a receiver that has a place
ROOM_SECONDS = 1.0  # until a full disk is tried again
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
        self._under_way: dict[str, str] = {}  # task: receiver

    def read(self, event: TaskEvent) -> None:
        """A reader of events: a task's end may have put something into the outbox."""
        if event.type == "task.finished" and event.fields.get("webhook"):
            self._news.set()

    async def run(self) -> None:
        """Delivers for ever; a receiver that hangs holds up no other."""
        async with asyncio.TaskGroup() as deliveries:
            while True:
                self._news.clear()
                try:
                    await self._pause(await self._begin(deliveries))
                except StorageFull:
                    logs.get().warning("journal.full")
                    await asyncio.sleep(ROOM_SECONDS)

    async def _begin(self, deliveries: asyncio.TaskGroup) -> float | None:
        """Starts what is due and has a place; when something else will be due (Unix seconds)."""
        now, before = self._wall(), set(self._under_way)  # one may end while the journal is read
        for task_id, url, attempts in await self._store.due_webhooks(now=now, limit=LOOKED_AT):
            if task_id not in before and self._has_place(url):
                self._under_way[task_id] = urlsplit(url).netloc
                deliveries.create_task(self._deliver(task_id, url, attempts), name=f"webhook:{task_id}")
        return await self._store.next_webhook(now=now)

    def _has_place(self, url: str) -> bool:
        receivers = list(self._under_way.values())
        return len(receivers) < AT_ONCE and receivers.count(urlsplit(url).netloc) < AT_ONE_RECEIVER

    async def _pause(self, next_at: float | None) -> None:
        seconds = LOOK_SECONDS if next_at is None else min(LOOK_SECONDS, max(0.01, next_at - self._wall()))
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    async def _deliver(self, task_id: str, url: str, attempts: int) -> None:
        try:
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
        except StorageFull:
            logs.get().warning("journal.full")
            await asyncio.sleep(ROOM_SECONDS)
        finally:
            del self._under_way[task_id]
            self._news.set()  # there is a place again

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
