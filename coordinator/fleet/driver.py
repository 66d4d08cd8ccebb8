"""PgQueuer's way to PostgreSQL: it asks again while the server is away, and says when its listener is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.ports.driver import NotifyCallback

from shared.db.postgres.connection import LOST, REFUSED, Pool, borrow, give_up

AGAIN_SECONDS = 0.25  # between two tries
GRACE_SECONDS = 1.5  # after an outage, for every coordinator to beat before one looks for jobs of the dead
_LOOKS = "SKIP LOCKED"  # in the query for jobs

T = TypeVar("T")


class PatientDriver(AsyncpgPoolDriver):
    """Every query may be sent twice: an answer that was lost is one of a job that falls silent, and is found again."""

    def __init__(self, pool: Pool[asyncpg.Record], *, closing: Callable[[], bool]) -> None:
        super().__init__(pool)
        self._closing = closing
        self.on_silence: Callable[[], None] = lambda: None  # called when the connection that listens is gone

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        async def ask(connection: Any) -> list[dict[str, object]]:
            return [dict(row) for row in await connection.fetch(query, *args)]

        return await self._patiently(ask, grace=GRACE_SECONDS if _LOOKS in query else 0.0)

    async def execute(self, query: str, *args: object) -> str:
        async def ask(connection: Any) -> str:
            status: str = await connection.execute(query, *args)
            return status

        return await self._patiently(ask)

    async def notify(self, channel: str, payload: str) -> None:
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        await super().add_listener(channel, callback)
        assert self._listener_connection is not None
        self._listener_connection.add_termination_listener(lambda _: self.on_silence())

    async def __aexit__(self, *_: object) -> None:
        """The listener is not asked to stop: its connection may be gone."""
        self._entered -= 1
        if self._entered == 0 and (listening := self._listener_connection) is not None:
            self._listener_connection = None
            give_up(listening)
            await self._pool.release(listening)

    async def _patiently(self, ask: Callable[[Any], Awaitable[T]], *, grace: float = 0.0) -> T:
        while True:
            try:
                async with borrow(self._pool) as connection:
                    return await ask(connection)
            except (*LOST, *REFUSED) as exc:
                if self._closing():
                    raise
                if isinstance(exc, LOST):
                    await self._pool.expire_connections()
                await asyncio.sleep(AGAIN_SECONDS)
                if grace:
                    await self._patiently(lambda connection: connection.execute("SELECT 1"))
                    await asyncio.sleep(grace)
