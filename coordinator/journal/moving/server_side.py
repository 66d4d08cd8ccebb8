"""A journal in PostgreSQL, as the source or the target of a move."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress

import asyncpg

from coordinator.journal import sql
from coordinator.journal.location import shown
from coordinator.journal.moving.side import MoveFailed
from coordinator.journal.moving.tables import CAME, MOVED, TABLES, Destination, Origin, Table
from coordinator.journal.postgres.migrations import MIGRATIONS, OLDEST
from coordinator.journal.rows import read_lane, write_lane
from shared.db.database import Row
from shared.db.postgres.connection import LOST, REFUSED
from shared.db.postgres.database import POSITION_BITS
from shared.db.postgres.dialect import show_nul
from shared.db.postgres.opening import connect
from shared.db.postgres.refusals import explain, tell
from shared.db.postgres.schema import LOCK, migrate
from shared.errors import StorageBroken

CLOSE_SECONDS = 2.0
GONE_SECONDS = 6.0  # after which a coordinator that was killed is told from one that runs
LOOK_SECONDS = 0.5

# Those that have beaten in the last seconds, and those that are connected and silent: stopped, and not gone.
_USERS = """
SELECT address FROM coordinators WHERE at > extract(epoch FROM clock_timestamp()) - 5
UNION ALL
SELECT coalesce(host(client_addr), 'this machine') FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'LISTEN %muster_news%'
"""
_SET_LANE = "UPDATE tasks SET lane = $2 WHERE id = $1"
_NUMBER_ON = """
SELECT setval(pg_get_serial_sequence('{table}', '{column}'), greatest(max({column}), 1), max({column}) IS NOT NULL)
FROM {table}
"""
_POSITION = f"""
SELECT greatest((last_value + is_called::int) << {POSITION_BITS}, (SELECT coalesce(max(id), 0) FROM events))
FROM muster_positions
"""
_PASSING = ("beats", "coordinators", "a2a_events")  # what is of no use without those that run
_WISHES = "SELECT count(*) FROM tasks WHERE cancelled"


class ServerSide:
    """One connection, one transaction, and the lock that every start of a coordinator takes."""

    def __init__(self, url: str, password: str | None) -> None:
        self.name = shown(url)
        self._url = url
        self._password = password
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._transaction: asyncpg.transaction.Transaction | None = None

    async def open_source(self) -> None:
        await self._connect()
        with self._explained():
            if await self._find_version() is None:
                raise MoveFailed(f"--from {self.name} has no journal.")
        await self._take()
        with self._explained():
            if wishes := await self._open.fetchval(_WISHES):
                raise MoveFailed(
                    f"{wishes} of the tasks in {self.name} are to be cancelled, and no coordinator has done it yet: "
                    "start one there, and stop it."
                )
            self._transaction = self._open.transaction(isolation="repeatable_read", readonly=True)
            await self._transaction.start()

    async def open_target(self) -> None:
        await self._connect()
        await self._take()
        with self._explained():
            self._transaction = self._open.transaction()
            await self._transaction.start()

    async def _connect(self) -> None:
        self._connection = await connect(self._url, self._password)
        with self._explained():
            await self._open.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")

    async def _find_version(self) -> int | None:
        if await self._open.fetchval("SELECT to_regclass('muster_format')") is None:
            return None
        version: int | None = await self._open.fetchval("SELECT version FROM muster_format")
        return version

    async def _take(self) -> None:
        with self._explained():
            if not await self._open.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                raise MoveFailed(f"{self.name} is in use: another move, or a coordinator that starts. Stop it.")
            version = await self._find_version()
            if version is not None and version > len(MIGRATIONS):  # a coordinator may go on with it; tables may be new
                raise StorageBroken(
                    f"{self.name} was written by a newer Muster (format {version}, this one knows {len(MIGRATIONS)}): "
                    "move it with the newer one."
                )
            await migrate(self._open, MIGRATIONS, oldest=OLDEST)
            until = time.monotonic() + GONE_SECONDS
            while users := await self._open.fetch(_USERS):
                if time.monotonic() >= until:
                    raise MoveFailed(f"{self.name} is in use by a coordinator at {users[0][0]}. Stop all that use it.")
                await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        if self._connection is not None:
            with suppress(*LOST, asyncpg.PostgresError):
                await self._connection.close(timeout=CLOSE_SECONDS)
            self._connection.terminate()

    @property
    def _open(self) -> asyncpg.Connection[asyncpg.Record]:
        assert self._connection is not None
        return self._connection

    async def count(self, table: Table) -> int:
        with self._explained():
            count: int = await self._open.fetchval(f"SELECT count(*) FROM {table.there} WHERE {table.where}")
        return count

    async def read(self, table: Table, columns: Sequence[str]) -> AsyncIterator[Sequence[Row]]:
        order = table.order_there or table.order
        text = f"SELECT {', '.join(columns)} FROM {table.there} WHERE {table.where} ORDER BY {order}"
        with self._explained():
            cursor = await self._open.cursor(text)
        while True:
            with self._explained():
                rows = await cursor.fetch(table.batch)
            if not rows:
                return
            yield [tuple(row) for row in rows]

    async def read_meta(self, key: str) -> str | None:
        with self._explained():
            value: str | None = await self._open.fetchval("SELECT value FROM meta WHERE key = $1", key)
        return value

    async def find_position(self) -> int:
        with self._explained():
            position: int = await self._open.fetchval(_POSITION)
        return position

    async def begin(self, *, replace: bool) -> None:
        with self._explained():
            await self._open.execute(f"TRUNCATE {', '.join((*(table.there for table in TABLES), *_PASSING))}")
            if await self._open.fetchval("SELECT to_regclass('pgqueuer')") is not None:
                await self._open.execute("DELETE FROM pgqueuer")

    async def write(self, table: Table, columns: Sequence[str], rows: AsyncIterator[Sequence[Row]]) -> None:
        async def each() -> AsyncIterator[Row]:
            async for batch in rows:
                for row in batch:
                    yield row

        with self._explained():
            await self._open.copy_records_to_table(table.there, columns=columns, records=each())

    async def settle(self, position: int) -> None:
        with self._explained():
            told = await self._open.fetch(sql.OPEN_ACCEPTED)
            lanes = [(task_id, write_lane(read_lane(data))) for task_id, data in told]
            await self._open.executemany(_SET_LANE, [(id, show_nul(lane)) for id, lane in lanes if lane is not None])
            for table in TABLES:
                if table.serial is not None:
                    await self._open.execute(_NUMBER_ON.format(table=table.there, column=table.serial))
            first = max(1, -(-position >> POSITION_BITS))
            await self._open.execute("SELECT setval('muster_positions', $1, FALSE)", first)

    async def commit(self, origin: Origin) -> None:
        with self._explained():
            await self._keep(CAME, origin.write())
            assert self._transaction is not None
            await self._transaction.commit()

    async def leave(self, destination: Destination) -> None:
        with self._explained():
            if self._transaction is not None:
                await self._transaction.rollback()
            await self._keep(MOVED, destination.write())

    async def _keep(self, key: str, value: str) -> None:
        await self._open.execute(
            "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            key,
            value,
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (*LOST, *REFUSED) as exc:
            raise explain(exc) from exc
        except asyncpg.PostgresError as exc:
            raise StorageBroken(f"{self.name} cannot be used: {tell(exc)}") from exc
