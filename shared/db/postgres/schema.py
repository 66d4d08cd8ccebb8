"""The journal's tables in PostgreSQL: made and migrated under one lock, for several coordinators start at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import asyncpg

from shared import logs
from shared.db.postgres.refusals import OLDEST, POOLED, TOO_OLD
from shared.errors import StorageBroken

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
LOCK = 0x6D757374  # "must": of the advisory locks in this database
OLD_WRITERS_DAYS = 1

_OWN = """
CREATE TABLE IF NOT EXISTS muster_format (version BIGINT NOT NULL);
ALTER TABLE muster_format ADD COLUMN IF NOT EXISTS oldest BIGINT;  -- NULL: none but `version`
CREATE TABLE IF NOT EXISTS muster_writers (  -- the last commit of each connection that writes, and what became of it
    writer TEXT PRIMARY KEY,
    number BIGINT NOT NULL,
    outcome BOOLEAN[] NOT NULL,
    at TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 20);
CREATE SEQUENCE IF NOT EXISTS muster_positions;
CREATE OR REPLACE FUNCTION muster_write(_writer text, _number bigint, _units jsonb, _late jsonb) RETURNS boolean[]
LANGUAGE plpgsql AS $muster$
DECLARE
    _unit jsonb; _call jsonb; _touched bigint; _first boolean; _written boolean; _last bigint;
    _outcome boolean[] := '{}';
BEGIN
    INSERT INTO muster_writers VALUES (_writer, 0, '{}', now()) ON CONFLICT DO NOTHING;
    SELECT number, outcome INTO _last, _outcome FROM muster_writers WHERE writer = _writer FOR UPDATE;
    IF _last = _number THEN  -- the answer to this commit was lost
        RETURN _outcome;
    ELSIF _last > _number THEN  -- it was on its way when its sender gave it up and sent it again
        RAISE EXCEPTION 'The commit is an old one.' USING ERRCODE = 'connection_failure';
    END IF;
    _outcome := '{}';
    FOR _unit IN SELECT value FROM jsonb_array_elements(_units) LOOP
        _first := true;
        _written := true;
        FOR _call IN SELECT value FROM jsonb_array_elements(_unit) LOOP
            EXECUTE 'SELECT ' || (_call->>0) || '($1)' INTO _touched USING _call->1;
            IF _first AND _touched = 0 THEN  -- the guard
                _written := false;
                EXIT;
            END IF;
            _first := false;
        END LOOP;
        _outcome := _outcome || _written;
    END LOOP;
    FOR _call IN SELECT value FROM jsonb_array_elements(_late) LOOP  -- many rows of one statement
        EXECUTE 'SELECT ' || (_call->>0) || '($1, $2)' USING _call->1, _outcome;
    END LOOP;
    INSERT INTO muster_writers VALUES (_writer, _number, _outcome, now())
    ON CONFLICT (writer) DO UPDATE SET number = excluded.number, outcome = excluded.outcome, at = excluded.at;
    RETURN _outcome;
END $muster$;
"""


async def migrate(connection: Connection, migrations: Sequence[str], *, oldest: int = 1) -> None:
    """Brings the tables to the newest format, whole or not at all, however long it takes.

    A newer format stays as it is, where it says that code which knows so many migrations can work with it; else raises
    `StorageBroken`, as for a server that this program cannot use. `oldest` is what the tables say of that when they are
    at the newest of these migrations. Raises what asyncpg raises.
    """
    await _check(connection)
    async with connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK):
            logs.get().info("journal.waits", why="Another coordinator brings the tables up to date.")
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await _migrate(connection, migrations, oldest)


async def _check(connection: Connection) -> None:
    if (version := connection.get_server_version()).major < OLDEST:
        raise StorageBroken(TOO_OLD.format(version=f"{version.major}.{version.minor}", oldest=OLDEST))
    if connection.get_server_pid() != await connection.fetchval("SELECT pg_backend_pid()"):
        raise StorageBroken(f"The database cannot be used as a journal. {POOLED}")


async def _migrate(connection: Connection, migrations: Sequence[str], oldest: int) -> None:
    await connection.execute(_OWN)
    found = await connection.fetchrow("SELECT version, coalesce(oldest, version) FROM muster_format")
    if found is None:
        await connection.execute("INSERT INTO muster_format (version) VALUES (0)")
    version, usable_from = found or (0, 0)
    if len(migrations) < usable_from:
        raise StorageBroken(
            f"The database was written by a newer Muster (format {version}, this one knows {len(migrations)}): "
            "upgrade Muster."
        )
    for script in migrations[version:]:
        await connection.execute(script)
    if version <= len(migrations):
        await connection.execute("UPDATE muster_format SET version = $1, oldest = $2", len(migrations), oldest)
    await connection.execute(
        "DELETE FROM muster_writers WHERE at < now() - make_interval(days => $1)", OLD_WRITERS_DAYS
    )


async def add_functions(connection: Connection, definitions: Sequence[str]) -> None:
    """Makes functions known; two coordinators that do it at once wait for each other."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        for definition in definitions:
            await connection.execute(definition)
