"""The connection that writes. It holds a lock, so one coordinator has a database at a time."""

from __future__ import annotations

import asyncio

import asyncpg

from shared.db.postgres.connection import COMMAND_SECONDS, CONNECT_SECONDS, name
from shared.db.postgres.schema import LOCK
from shared.errors import StorageBroken

WAIT_SECONDS = 5.0  # for the last commit of a coordinator that was killed
LOOK_SECONDS = 0.1


class WritingConnection:
    """Connects, and connects again after a loss.

    The lock is the connection's own: PostgreSQL gives it to another coordinator only after the last commit of this one.
    """

    def __init__(self, url: str, password: str | None = None) -> None:
        self._url = url
        self._password = password
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def get(self) -> asyncpg.Connection[asyncpg.Record]:
        """Raises `StorageBroken` where another coordinator has the database, and what asyncpg raises."""
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            new = await asyncpg.connect(
                self._url, password=self._password, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS
            )
            try:
                await self._lock(new)
            except BaseException:
                new.terminate()
                raise
            self._connection = new
        return self._connection

    def drop(self) -> None:
        """Gives up a connection of which nothing is known."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _lock(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_SECONDS
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK + 1):
            if loop.time() >= until:
                raise StorageBroken(
                    f"{name(self._url)} is in use by another coordinator. Stop it, or set another DATABASE_URL."
                )
            await asyncio.sleep(LOOK_SECONDS)
