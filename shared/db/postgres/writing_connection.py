"""The connection that writes: made again after a loss."""

from __future__ import annotations

import asyncpg

from shared.db.postgres.connection import COMMAND_SECONDS, CONNECT_SECONDS


class WritingConnection:
    """One connection, for writes go out in order."""

    def __init__(self, url: str, password: str | None = None) -> None:
        self._url = url
        self._password = password
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def get(self) -> asyncpg.Connection[asyncpg.Record]:
        """Raises what asyncpg raises."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._url, password=self._password, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS
            )
        return self._connection

    def drop(self) -> None:
        """Gives up a connection of which nothing is known."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
