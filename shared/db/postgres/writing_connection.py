"""The connection that writes: made again after a loss."""

from __future__ import annotations

import asyncpg

from shared.db.postgres.connection import Connection, Connector

_DURABLE = """
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""  # what an administrator has made stricter stays


class WritingConnection:
    """One connection, for writes go out in order."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._connection: Connection[asyncpg.Record] | None = None

    async def get(self) -> Connection[asyncpg.Record]:
        """Raises what asyncpg raises."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connector.connect()
            await self._connection.execute(_DURABLE)
        return self._connection

    def drop(self) -> None:
        """Gives up a connection of which nothing is known."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
