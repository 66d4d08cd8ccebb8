"""PostgreSQL as the journal: one connection writes, with group commit, and the others read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

import asyncpg

from shared.db.database import Function, Query, Row, Rows, Statement
from shared.db.postgres.connection import LOST, MOST_CONNECTIONS, REFUSED, Connector, borrow, give_up
from shared.db.postgres.dialect import Asked, Dialect, number_names, show_nul, translate
from shared.db.postgres.opening import explained, wait_at_start
from shared.db.postgres.refusals import explain, refuse_tables, tell
from shared.db.postgres.schema import migrate
from shared.db.postgres.teller import Teller
from shared.db.postgres.writer import RETRY_SECONDS, Follower, Writer, split
from shared.db.postgres.writing_connection import WritingConnection
from shared.db.writes import Unit
from shared.errors import StorageBroken
from shared.failpoints import At, nowhere

POSITION_BITS = 20  # of an event's position, within a range; JSON is exact up to 53
_POSITIONS = "SELECT nextval('muster_positions'), (SELECT coalesce(max(id), 0) FROM events)"
_SKIP = """
SELECT setval('muster_positions', CAST(:past AS BIGINT) + 1000) FROM muster_positions WHERE last_value <= :past
"""
READ_SECONDS = 5.0  # that a read waits for a server that is away: a restart takes less


class Postgres:
    """The journal in a database of a server; any number of coordinators use it at a time."""

    sealed = False
    shared = True

    def __init__(
        self,
        url: str,
        dialect: Dialect,
        *,
        password: str | None = None,
        at: At = nowhere,
    ) -> None:
        """`password` counts where the address has none."""
        self.connector = Connector(url, password)
        self._dialect = dialect
        self.at = at
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._writer: Writer | None = None
        self._teller: Teller | None = None
        self._closed = False

    async def open(self, migrations: Sequence[str] = (), functions: Mapping[str, Function] | None = None) -> None:
        """`migrations` and `functions` are SQLite's: those of the dialect count here."""
        await wait_at_start(self._open)

    async def _open(self) -> None:
        try:
            with explained(self.connector.url):
                self._pool = await self.connector.make_pool(MOST_CONNECTIONS)
                self._teller = Teller(self._pool)
                writing = WritingConnection(self.connector)
                self._writer = Writer(writing, self._dialect, self._teller, at=self.at)
                await self._writer.open()
                migrating = await self.connector.connect(seconds=None)
            try:
                await migrate(migrating, self._dialect.migrations, oldest=self._dialect.oldest)
            except (*LOST, asyncpg.PostgresError) as exc:
                raise refuse_tables(exc) from exc
            finally:
                migrating.terminate()
        except BaseException:
            await self._leave()
            raise

    def follow(self, follower: Follower) -> None:
        """From now on, `follower` does more within the commits that it wants."""
        assert self._writer is not None
        self._writer.follower = follower

    def tell(self, wanted: bool) -> None:
        """Whether news of what is written are sent; nobody hears them where this process is alone."""
        assert self._writer is not None
        self._writer.listened = wanted

    async def take_positions(self) -> int:
        """The last position before a range of events that is this process's own.

        It lies after all that is written, whatever the sequence says: a standby may have lost its last numbers.
        """
        while True:
            [[number, last]] = await self.read(_POSITIONS)
            if number << POSITION_BITS > last:
                return int(number) << POSITION_BITS
            await self.read(_SKIP, {"past": last >> POSITION_BITS})

    def needs_positions(self, last: int) -> bool:
        return last % (1 << POSITION_BITS) >= 1 << POSITION_BITS - 1

    async def close(self) -> None:
        self._closed = True
        await self._leave()

    async def _leave(self) -> None:
        if self._writer is not None:
            await self._writer.close()
        if self._teller is not None:
            await self._teller.close()
        if self._pool is not None:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._pool.close(), 2.0)
            self._pool.terminate()

    async def write(self, name: str, *statements: Statement) -> Rows | None:
        rows: Rows | None = await self._put(name, statements)
        return rows

    def post(self, name: str, *statements: Statement, then: Callable[[Rows], None] | None = None) -> None:
        if self._writer is not None:
            self._writer.put(Unit(name, statements, then=then))

    async def write_some(self, name: str, statements: Sequence[Statement], *, seconds: float) -> int:
        """Beside the other writes, which so never wait for it."""
        until, done = time.perf_counter() + seconds, 0
        for piece in split(statements):
            self.at(f"{name}.queued")
            await self._write_aside(piece)
            self.at(f"{name}.committed")
            done += len(piece)
            if time.perf_counter() >= until:
                break
        return done

    async def _write_aside(self, statements: Sequence[Statement]) -> None:
        if self._closed or self._pool is None:
            raise StorageBroken("The journal is closed.")
        given = [
            (s.sql, row) for s in statements for row in ([s.params] if isinstance(s.params, Mapping) else s.params)
        ]
        asked = [(number_names(translate(sql, self._dialect), row), row) for sql, row in given]
        try:
            async with borrow(self._pool) as connection, connection.transaction():
                for one, same in groupby(asked, key=lambda pair: pair[0]):
                    await connection.executemany(one.text, [_list_values(one, row) for _, row in same])
        except (*LOST, *REFUSED) as exc:
            raise explain(exc) from exc
        except asyncpg.PostgresError as exc:
            raise StorageBroken(f"The journal cannot be written: {tell(exc)}") from exc

    async def checkpoint(self) -> None:
        """The server's own work."""

    def find_trouble(self) -> str | None:
        trouble = self._writer.trouble if self._writer is not None else None
        return trouble.detail if trouble is not None else None

    async def read_mark(self) -> int | None:
        return None

    async def write_mark(self, number: int) -> None:
        """The server's own log says how far it has come."""

    async def find_damage(self) -> str | None:
        return None

    async def read(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        return (await self.read_all(Query(sql, params or {})))[0]

    async def read_all(self, *queries: Query, aside: bool = False) -> Rows:
        asked = [(number_names(translate(query.sql, self._dialect), query.params), query.params) for query in queries]
        loop = asyncio.get_running_loop()
        until = loop.time() + READ_SECONDS
        while True:
            try:
                return await self._read(asked)
            except (*LOST, *REFUSED) as exc:
                if self._pool is not None and isinstance(exc, LOST):
                    await self._pool.expire_connections()  # the others are hardly better
                if loop.time() >= until or self._closed:
                    raise explain(exc) from exc
                await asyncio.sleep(RETRY_SECONDS)
            except asyncpg.PostgresError as exc:
                raise StorageBroken(f"The journal cannot be read: {tell(exc)}") from exc

    async def _read(self, asked: Sequence[tuple[Asked, Mapping[str, Any]]]) -> Rows:
        assert self._pool is not None
        async with borrow(self._pool) as connection:
            if len(asked) == 1:
                return [await _fetch(connection, *asked[0])]
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return [await _fetch(connection, *one) for one in asked]

    async def _put(self, name: str, statements: Sequence[Statement]) -> Any:
        if self._closed or self._writer is None:
            raise StorageBroken("The journal is closed.")
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._writer.put(Unit(name, statements, done))
        return await done


async def _fetch(connection: Any, asked: Asked, params: Mapping[str, Any]) -> list[Row]:
    try:
        return [tuple(row) for row in await connection.fetch(asked.text, *_list_values(asked, params))]
    except (*LOST, asyncio.CancelledError):
        give_up(connection)  # what would be said at the end of a transaction is not waited for
        raise


def _list_values(asked: Asked, params: Mapping[str, Any]) -> list[Any]:
    return [show_nul(value) if isinstance(value := params[name], str) else value for name in asked.names]
