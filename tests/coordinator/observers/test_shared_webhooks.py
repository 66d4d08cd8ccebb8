"""Webhooks of a journal that several coordinators share: one of them sends each, another one where that one died."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from coordinator.journal.postgres.dialect import DIALECT
from coordinator.journal.store import Store
from coordinator.observers.webhooks import Webhooks
from coordinator.tasks.task import Task
from shared.contracts import Status
from shared.copying import changed
from shared.db.outbox import CLAIM_SECONDS
from shared.db.postgres.database import Postgres
from shared.failpoints import nowhere
from tests.support.fakes import Network, eventually
from tests.support.postgres import Server

Clock = Callable[[], float]


class Receiver:
    """Counts what comes to `http://hooks/done`, and answers once `open` is set."""

    def __init__(self) -> None:
        self.got: Counter[str] = Counter()
        self.open = asyncio.Event()
        self.network = Network()
        app = FastAPI()
        app.add_api_route("/done", self._take, methods=["POST"])
        self.network.host("hooks", app)

    async def _take(self, request: Request) -> Response:
        self.got[request.headers["idempotency-key"]] += 1
        await self.open.wait()
        return Response(status_code=204)


@asynccontextmanager
async def sender(store: Store, receiver: Receiver, *, wall: Clock = time.time) -> AsyncIterator[asyncio.Task[None]]:
    """A coordinator's loop over its webhooks."""
    async with httpx.AsyncClient(transport=receiver.network) as http:
        webhooks = Webhooks(store, http, "", wall=wall, now=time.monotonic, random=Random(1), at=nowhere)
        running = asyncio.create_task(webhooks.run())
        try:
            yield running
        finally:
            running.cancel()
            await asyncio.wait({running})


@pytest.fixture
async def stores(postgres: Server) -> AsyncIterator[list[Store]]:
    """The same journal at two coordinators."""
    url = postgres.make_database()
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            store = Store(Postgres(url, DIALECT), publish=lambda _: None)
            stack.push_async_callback(store.close)
            await store.open()
            await store.move_past(0)
            found.append(store)
        yield found


async def end_tasks(store: Store, number: int) -> set[str]:
    """Ids of tasks that have ended and whose webhooks are due."""
    for n in range(number):
        task = Task(
            id=f"t{n}", description="?", created_at=1.0, deadline=9.0, webhook_url="http://hooks/done", steps=()
        )
        await store.accept(task)
        await store.finish_task(changed(task, status=Status.COMPLETED, finished_at=2.0))
    return {f"t{n}" for n in range(number)}


async def test_each_webhook_is_sent_by_one(stores: list[Store]) -> None:
    """Both coordinators look for what is due at the same moment, again and again."""
    receiver = Receiver()
    receiver.open.set()
    ids = await end_tasks(stores[0], 40)
    async with sender(stores[0], receiver), sender(stores[1], receiver):

        async def all_noted() -> bool | None:
            noted = [await stores[0].events(id) for id in ids]
            return all(any(event.type == "webhook.sent" for event in events) for events in noted) or None

        await eventually(all_noted, seconds=30)

    assert receiver.got == Counter(ids)


async def test_webhook_of_a_dead_sender_is_sent_by_another(stores: list[Store]) -> None:
    """Not before its claim is over, which is what the receiver's answer and the note of it may take."""
    receiver = Receiver()
    [id] = await end_tasks(stores[0], 1)
    async with sender(stores[0], receiver) as first:
        await eventually(lambda: receiver.got[id] == 1 or None)
        first.cancel()  # as a kill does: nothing is noted
        due = await stores[1].due_webhooks(now=time.time(), limit=10)
        receiver.open.set()
        async with sender(stores[1], receiver, wall=lambda: time.time() + CLAIM_SECONDS):

            async def noted() -> bool | None:
                return any(event.type == "webhook.sent" for event in await stores[1].events(id)) or None

            await eventually(noted, seconds=30)

    assert due == []
    assert receiver.got[id] == 2
