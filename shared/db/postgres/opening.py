"""What a start opens of PostgreSQL: connections, or one sentence that says why there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import asyncpg

from shared import logs
from shared.db.postgres.connection import LOST, Connection, Connector
from shared.db.postgres.refusals import refuse
from shared.errors import StorageAway

START_SECONDS = 30.0  # that a start waits for a server that is not there yet
START_AGAIN_SECONDS = 0.5  # between two tries of a start


async def connect(url: str, password: str | None) -> Connection[asyncpg.Record]:
    """A connection whose statements may take as long as they need; raises what `explained` raises."""
    with explained(url):
        return await Connector(url, password).connect(seconds=None)


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Raises `StorageBroken`, or `StorageAway` where waiting may help, in one sentence that names no password."""
    try:
        yield
    except (*LOST, asyncpg.PostgresError, ValueError, OverflowError) as exc:
        raise refuse(exc, url) from exc


async def wait_at_start(open: Callable[[], Awaitable[None]]) -> None:
    """Opens; started before its database, it waits a while. Raises `StorageAway`, and what else `open` raises."""
    loop = asyncio.get_running_loop()
    until, told = loop.time() + START_SECONDS, False
    while True:
        try:
            return await open()
        except StorageAway as exc:
            if loop.time() >= until:
                raise
            if not told:
                logs.get().warning(exc.event, why=exc.detail, waits_seconds=START_SECONDS)
                told = True
            await asyncio.sleep(START_AGAIN_SECONDS)
