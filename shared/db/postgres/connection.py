"""A pool of connections to PostgreSQL, and what is said of a server that cannot be used."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from shared import logs
from shared.errors import StorageAway, StorageBroken, StorageFull, StorageUnwritable

MOST_CONNECTIONS = 6  # of one coordinator: one that writes, the others read
COMMAND_SECONDS = 10.0  # a statement that takes longer has lost its server
CONNECT_SECONDS = 5.0
START_SECONDS = 30.0  # that a start waits for a server that is not there yet
_PASSWORD = re.compile(r"(?<=://)([^:@/]*):.*@|(?<=password=)[^&]*")

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
)
FOR_GOOD = (  # at a start: waiting does not help
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.FeatureNotSupportedError,
    ValueError,
)


async def make_pool(url: str, password: str | None) -> asyncpg.Pool[asyncpg.Record]:
    """Raises `StorageBroken` or `StorageUnwritable`, in one sentence that names the server and no password."""
    loop = asyncio.get_running_loop()
    until, told = loop.time() + START_SECONDS, False
    while True:
        try:
            return await _make_pool(url, password)
        except StorageAway as exc:  # started before its database, it waits a while
            if loop.time() >= until:
                raise
            if not told:
                logs.get().warning(exc.event, why=exc.detail, waits_seconds=START_SECONDS)
                told = True
            await asyncio.sleep(0.5)


async def _make_pool(url: str, password: str | None) -> asyncpg.Pool[asyncpg.Record]:
    with _explained(url):
        return await asyncpg.create_pool(
            url,
            password=password,
            min_size=1,
            max_size=MOST_CONNECTIONS,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            max_inactive_connection_lifetime=300.0,
            reset=leave_as_it_is,
        )


async def connect(url: str, password: str | None) -> asyncpg.Connection[asyncpg.Record]:
    """One connection, whose statements may take as long as they need; raises as `make_pool` does, at once."""
    with _explained(url):
        return await asyncpg.connect(url, password=None if has_password(url) else password, timeout=CONNECT_SECONDS)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except FOR_GOOD as exc:
        raise StorageBroken(f"{name(url)} refused the connection: {tell(exc)} Look at DATABASE_URL.") from exc
    except (*LOST, *REFUSED) as exc:
        raise StorageAway(f"{name(url)} cannot be reached: {tell(exc)}") from exc


async def leave_as_it_is(connection: object) -> None:
    """A connection comes back to its pool as it was taken: nothing here sets anything for a session.

    asyncpg would ask the server at each return, which doubled the number of its calls.
    """


def has_password(url: str) -> bool:
    return _PASSWORD.search(url) is not None


def name(url: str) -> str:
    """The server as an error names it, without its password."""
    return f"PostgreSQL at {_PASSWORD.sub(lambda found: f'{found[1]}:…@' if found[1] is not None else '…', url)}"


def tell(exc: BaseException) -> str:
    """An error as one sentence."""
    text = str(exc).partition("\n")[0].strip() or type(exc).__name__
    return text if text.endswith(".") else f"{text}."


def explain(exc: BaseException) -> StorageUnwritable:
    """A failure of a write that another try may mend."""
    if isinstance(exc, asyncpg.DiskFullError):
        return StorageFull("The disk of PostgreSQL is full; nothing was written. Free some space.")
    if isinstance(exc, asyncpg.ReadOnlySQLTransactionError):
        return StorageAway(
            "PostgreSQL is read-only: it is a standby, or was set so. Point DATABASE_URL to the primary."
        )
    if isinstance(exc, asyncpg.TooManyConnectionsError):
        return StorageAway("PostgreSQL has no connection left: raise max_connections, or run fewer coordinators.")
    if isinstance(exc, asyncpg.QueryCanceledError):
        return StorageAway(f"PostgreSQL cut a write off: {tell(exc)} Raise statement_timeout.")
    return StorageAway(f"PostgreSQL does not answer: {tell(exc)}")
