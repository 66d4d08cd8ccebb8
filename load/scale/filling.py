"""A PostgreSQL with many ended tasks: one real task, its rows repeated by SQL under other ids, at earlier times."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg

APART_SECONDS = 1.0  # between two ended tasks: a million of them are younger than HISTORY_DAYS
OPTIONS = (  # the server's, for a fill: what is written goes into the log as little as may be
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=16GB",
    "checkpoint_timeout=30min",
    "shared_buffers=512MB",
    "maintenance_work_mem=512MB",
)
_PLACES = (
    *("Amsterdam", "Bergen", "Cork", "Dover", "Essaouira", "Faro", "Genoa", "Hull"),
    *("Izmir", "Jersey", "Kiel", "Lagos", "Malaga", "Naples", "Oslo", "Porto"),
)
_TEXT = " ".join(
    f"{place} has high water {hour} hours and {hour * 7 % 60} minutes after the moon has passed its meridian."
    for hour, place in enumerate(_PLACES * 2)
)
_STATUS = """CASE WHEN n % 100 < 95 THEN 'completed' WHEN n % 100 < 97 THEN 'failed' WHEN n % 100 = 97 THEN 'partial'
                  WHEN n % 100 = 98 THEN 'timed_out' ELSE 'cancelled' END"""
_ID, _AGE = "md5('task ' || n)", f"(($2 - n) * {APART_SECONDS})"
_COPIES = {
    "history": {
        "task_id": _ID,
        "status": _STATUS,
        "description": f"'How do the tides of ' || split_part('{' '.join(_PLACES)}', ' ', 1 + n::int % 16) || ' work?'",
        "idempotency_key": "CASE WHEN n % 2 = 0 THEN 'key ' || n END",
    },
    "task_agents": {"task_id": _ID, "status": _STATUS},
    "steps": {
        "task_id": _ID,
        "output": f"json_build_object('report', substr('{_TEXT}', 1 + (n % 1000)::int, $3))::text",
    },
    "events": {"task_id": _ID, "id": "n * 64 + row_number() OVER (PARTITION BY n ORDER BY t.id)"},
}
_TOLD = """
INSERT INTO events (id, type, at, data)
SELECT n * 64, CASE n % 100 WHEN 1 THEN 'audit.key_used' ELSE 'agent.status' END, extract(epoch FROM now()) - {age},
       '{{"agent_id": "researcher-1", "status": "healthy", "caller": "somebody"}}'
FROM generate_series(1::bigint, $1, 10) AS n
"""  # what is no task's: one event for ten tasks, and of ten such one is the audit's


async def fill(url: str, template: str, *, tasks: int, output: int) -> None:
    """Adds so many tasks like the ended task of id `template` to a journal that nobody has open.

    Every step delivers `output` characters. Raises `asyncpg.PostgresError`.
    """
    pool = await asyncpg.create_pool(url, min_size=1, max_size=4, command_timeout=600)
    try:
        indexes = await _drop_indexes(pool)
        await asyncio.gather(*(_copy(pool, table, template, tasks, output) for table in _COPIES))
        await pool.execute(_TOLD.format(age=f"($1 - n) * {APART_SECONDS}"), tasks)
        await asyncio.gather(*(pool.execute(index) for index in indexes))
        for table in _COPIES:
            await pool.execute(f"VACUUM ANALYZE {table}")  # as autovacuum has done in the course of time
    finally:
        await pool.close()


async def _drop_indexes(pool: asyncpg.Pool[asyncpg.Record]) -> Sequence[str]:
    """Drops those of the tables that grow, to be made at once in the end; returns how each is made."""
    made = []
    for table in _COPIES:
        for kind, name, definition in await pool.fetch(_INDEXES, table):
            drop = f"ALTER TABLE {table} DROP CONSTRAINT {name}" if kind else f"DROP INDEX {name}"
            await pool.execute(drop)
            made.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}" if kind else definition)
    return made


_INDEXES = """
SELECT c.oid IS NOT NULL, r.relname, coalesce(pg_get_constraintdef(c.oid), pg_get_indexdef(i.indexrelid))
FROM pg_index AS i JOIN pg_class AS r ON r.oid = i.indexrelid LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid
WHERE i.indrelid = $1::text::regclass
"""


async def _copy(pool: asyncpg.Pool[asyncpg.Record], table: str, template: str, tasks: int, output: int) -> None:
    names = [name for (name,) in await pool.fetch(_COLUMNS, table)]
    values = [
        _COPIES[table].get(name, f"t.{name} - {_AGE}" if name.endswith("_at") or name == "at" else f"t.{name}")
        for name in names
    ]
    await pool.execute(
        f"""
        INSERT INTO {table} ({", ".join(names)})
        SELECT {", ".join(values)}
        FROM generate_series(1::bigint, $2) AS n, (SELECT * FROM {table} WHERE task_id = $1) AS t
        WHERE $3 > 0
        """,
        template,
        tasks,
        output,
    )


_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = $1 AND is_identity = 'NO' ORDER BY ordinal_position
"""
