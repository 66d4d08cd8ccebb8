"""Connections to PostgreSQL: one by one or in a pool, to the server of an address that takes writes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

MOST_CONNECTIONS = 6  # of one coordinator: one that writes, the others read
COMMAND_SECONDS = 10.0  # a statement that takes longer has lost its server
CONNECT_SECONDS = 5.0  # to one server
SESSION = {  # whatever the server, the database or the role have set: these count for Muster's sessions
    "default_transaction_isolation": "read committed",
    "statement_timeout": "8s",  # less than COMMAND_SECONDS: the server can still say why
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "5s",  # what a coordinator holds that stands still or is cut off
    "tcp_keepalives_idle": "10",  # and its sessions end after half a minute
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "30s",
}
NOTHING_MORE: dict[str, str] = {}
PASSWORD = re.compile(r"(?<=://)([^:@/]*):.*@|(?<=password=)[^&]*")
_HOSTS = re.compile(r"(?P<before>\w+://(?:[^/?#]*@)?)(?P<hosts>[^/?#]*,[^/?#]*)(?P<after>.*)", re.DOTALL)

Connection = asyncpg.Connection
Pool = asyncpg.Pool

LOST = (  # nothing is known of what was sent; it can be sent again
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
REFUSED = (  # nothing was written, for a reason that somebody can remove
    asyncpg.OperatorInterventionError,  # it shuts down, starts up, or cut the statement off
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
)


def has_password(url: str) -> bool:
    return PASSWORD.search(url) is not None


def split_hosts(url: str) -> list[str]:
    """The address of each server of an address that names several; of these only one that takes writes will do."""
    if (found := _HOSTS.fullmatch(url)) is None:
        return [url]
    after = found["after"]
    if "target_session_attrs=" not in after:
        after += f"{'&' if '?' in after else '?'}target_session_attrs=read-write"
    return [f"{found['before']}{host}{after}" for host in found["hosts"].split(",")]


class Connector:
    """Connects to the server of an address; of several, to the one that was well last, or else to the next."""

    def __init__(self, url: str, password: str | None = None) -> None:
        """`password` counts where the address has none."""
        self.url = url
        self._password = None if has_password(url) else password
        self._ways = [url]
        self._split = False

    async def connect(
        self, *, seconds: float | None = COMMAND_SECONDS, more: dict[str, str] = NOTHING_MORE
    ) -> Connection[asyncpg.Record]:
        """`seconds` are those of a command, None for no limit; a server has five. Raises what asyncpg raises."""
        session = SESSION | more | ({"statement_timeout": "0"} if seconds is None else {})
        if not self._split:
            self._ways, self._split = split_hosts(self.url), True
        for number, way in enumerate([*self._ways], 1):
            try:
                made = await asyncpg.connect(
                    way,
                    password=self._password,
                    timeout=CONNECT_SECONDS,
                    command_timeout=seconds,
                    server_settings=session,
                )
            except (*LOST, asyncpg.PostgresError):
                if number == len(self._ways):
                    raise
                continue
            if way != self._ways[0]:
                self._ways = [way, *(other for other in self._ways if other != way)]
            return made
        raise AssertionError

    async def make_pool(self, size: int, more: dict[str, str] = NOTHING_MORE) -> Pool[asyncpg.Record]:
        """`more` is set for its sessions. It connects when it is asked first."""
        return await asyncpg.create_pool(
            connect=lambda *_, **__: self.connect(more=more),
            min_size=0,  # with one, asyncpg logs a traceback at each try while the server is away
            max_size=size,
            max_inactive_connection_lifetime=300.0,
            reset=leave_as_it_is,
        )


async def leave_as_it_is(connection: object) -> None:
    """A connection comes back to its pool as it was taken: nothing here sets anything for a session.

    asyncpg would ask the server at each return, which doubled the number of its calls.
    """


@asynccontextmanager
async def borrow(pool: Pool[asyncpg.Record]) -> AsyncIterator[Any]:
    """A connection of the pool; raises `TimeoutError` where none comes in time."""
    async with pool.acquire(timeout=CONNECT_SECONDS) as connection:
        try:
            yield connection
        except (*LOST, asyncio.CancelledError):
            give_up(connection)  # what it was asked is not waited for
            raise


def give_up(connection: Any) -> None:
    """Ends a connection of a pool at once, if it has not ended by itself; it is to be returned all the same."""
    with suppress(asyncpg.InterfaceError):
        connection.terminate()
