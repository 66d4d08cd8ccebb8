"""What is said of a PostgreSQL that cannot be used: its errors, and those of the way to it, as Muster's own."""

from __future__ import annotations

import asyncio
import ssl

import asyncpg

from shared.db.postgres.connection import LOST, PASSWORD, REFUSED
from shared.errors import MusterError, StorageAway, StorageBroken, StorageFull, StorageUnwritable

OLDEST = 15  # version of PostgreSQL
TOO_OLD = "PostgreSQL {version} is too old: Muster needs {oldest} or newer."
POOLED = (
    "PgBouncer, or another pooler that gives each transaction a connection of its own, stands between Muster and "
    "PostgreSQL: the queue and the news of tasks listen on connections that stay. Point DATABASE_URL to the server "
    "itself; each coordinator has at most 13 connections."
)
_QUOTED = "A password with / ? # @ or % in it stands in DATABASE_PASSWORD, or in the address with %2F %3F %23 %40 %25."
_FOR_GOOD = (  # waiting does not help a start
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.UndefinedObjectError,
    ssl.SSLCertVerificationError,
    ValueError,
    OverflowError,
)


def name(url: str) -> str:
    """The server as an error names it, without its password."""
    return f"PostgreSQL at {PASSWORD.sub(lambda found: f'{found[1]}:…@' if found[1] is not None else '…', url)}"


def tell(exc: BaseException) -> str:
    """An error as one sentence."""
    return _end(str(exc).partition("\n")[0].strip() or type(exc).__name__)


def _end(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def refuse(exc: BaseException, url: str) -> MusterError:
    """Why a start has no connection: `StorageBroken`, or `StorageAway` where it may wait for one."""
    text, server = str(exc), name(url)
    if "unsupported startup parameter" in text:
        return StorageBroken(f"{server} cannot be used. {POOLED}")
    if isinstance(exc, asyncpg.UndefinedObjectError) and "tcp_user_timeout" in text:
        return StorageBroken(TOO_OLD.format(version="11 or older", oldest=OLDEST))
    if "rejected SSL upgrade" in text:
        return StorageBroken(
            f"{server} refused the connection: what answers there offers no TLS and asks for none, so it is not "
            "PostgreSQL, or DATABASE_URL demands a TLS that this server does not have."
        )
    if isinstance(exc, ssl.SSLCertVerificationError):
        why = exc.verify_message or "it cannot be verified"
        return StorageBroken(
            f"{server} refused the connection: its certificate is not trusted: {why}. Name the certificate of its "
            "authority with sslrootcert=FILE in DATABASE_URL."
        )
    if isinstance(exc, (ValueError, OverflowError)) and ("int()" in text or "port" in text):
        return StorageBroken(f"{server} is no address: its port is not a number from 1 to 65535. {_QUOTED}")
    if isinstance(exc, _FOR_GOOD):
        why = "target_session_attrs is read-write, or is not given." if "target_session_attrs" in text else tell(exc)
        return StorageBroken(f"{server} refused the connection: {why} Look at DATABASE_URL.")
    return StorageAway(f"{server} cannot be reached: {_tell_away(exc)}")


def refuse_tables(exc: BaseException) -> MusterError:
    """Why the tables of the journal cannot be made or used at a start."""
    if isinstance(exc, (asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError, asyncpg.DuplicateFunctionError)):
        return StorageBroken(
            f"The database belongs to another program: {tell(exc)} Give Muster a database of its own: "
            "CREATE DATABASE muster."
        )
    if isinstance(exc, asyncpg.InsufficientPrivilegeError):
        return StorageBroken(
            f"The database cannot be used as a journal: {tell(exc)} The user of DATABASE_URL must own the database, "
            "or have the right to create tables in it."
        )
    if isinstance(exc, (*LOST, *REFUSED)):
        return explain(exc)
    return StorageBroken(f"The database cannot be used as a journal: {tell(exc)}")


def explain(exc: BaseException) -> StorageUnwritable:
    """A failure of a write or a read that another try may mend."""
    if isinstance(exc, asyncpg.DiskFullError):
        return StorageFull("The disk of PostgreSQL is full; nothing was written. Free some space.")
    if isinstance(exc, asyncpg.ReadOnlySQLTransactionError):
        return StorageAway(
            "PostgreSQL is read-only: it is a standby, or was set so. Point DATABASE_URL to the primary."
        )
    if isinstance(exc, asyncpg.TooManyConnectionsError):
        return StorageAway(
            "PostgreSQL has no connection left: raise max_connections, or run fewer coordinators. Each has at most 13."
        )
    if isinstance(exc, asyncpg.QueryCanceledError):
        return StorageAway(f"PostgreSQL cut a write off: {tell(exc)} Somebody cancelled it, or holds a lock.")
    if isinstance(exc, (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InsufficientPrivilegeError)):
        return StorageAway(f"PostgreSQL lets Muster in no more: {tell(exc)} Give its user back what it had.")
    if isinstance(exc, (asyncpg.InvalidCatalogNameError, asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError)):
        return StorageAway(
            f"The journal was removed from PostgreSQL: {tell(exc)} Restore it from a backup, and start the "
            "coordinators again."
        )
    return StorageAway(f"PostgreSQL does not answer: {_tell_away(exc)}")


def _tell_away(exc: BaseException) -> str:
    if isinstance(exc, asyncpg.TargetServerAttributeNotMatched):
        return "No server of DATABASE_URL takes writes."
    if isinstance(exc, asyncpg.TooManyConnectionsError):
        return explain(exc).detail
    if isinstance(exc, asyncio.TimeoutError) and not str(exc):
        return "No answer came in time."
    return tell(exc)
