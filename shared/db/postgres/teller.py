"""News of what was written, sent once it is durable and by a transaction of their own.

A commit that notifies holds PostgreSQL's one lock for that until it is on the disk, so the commits of all coordinators
would go there one after the other. That of the news waits for no disk: who loses them looks again anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import asyncpg

from shared.background import end
from shared.db.postgres.connection import LOST, REFUSED, borrow

CHANNEL = "muster_news"
MOST_BYTES, EVERYTHING = 7_900, "*"  # that NOTIFY takes, and what stands for more
_TELL = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)"


class Teller:
    """Sends news in one notification at a time; what comes meanwhile goes with the next."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        self._news: set[str] = set()
        self._sending: asyncio.Task[None] | None = None

    def tell(self, news: Iterable[str]) -> None:
        self._news |= {*news}
        if self._news and (self._sending is None or self._sending.done()):
            self._sending = asyncio.create_task(self._send(), name="news")

    async def close(self) -> None:
        """Gives up what is not sent."""
        if self._sending is not None:
            await end([self._sending])

    async def _send(self) -> None:
        while self._news:
            text = ",".join(sorted(self._news))
            self._news.clear()
            with suppress(*LOST, *REFUSED):
                await notify(self._pool, CHANNEL, text if len(text) < MOST_BYTES else EVERYTHING)


async def notify(pool: asyncpg.Pool[asyncpg.Record], channel: str, text: str) -> None:
    """Raises what asyncpg raises."""
    async with borrow(pool) as connection:
        await connection.execute(_TELL, channel, text)
