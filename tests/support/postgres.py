"""What a journal in PostgreSQL holds, for tests to look at; the server itself is that of the benchmarks."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from load.processes.postgres import UNSAFE, Server, find_programs, serve

__all__ = ["UNSAFE", "Server", "find_programs", "read_database", "serve"]
TABLES = ("tasks", "steps", "events", "history", "late_results", "webhooks", "agents", "meta", "coordinators")


@contextmanager
def read_database(url: str) -> Iterator[sqlite3.Connection]:
    """A copy of all tables of a journal, as of one moment, that SQLite's queries can be asked of."""
    copy = sqlite3.connect(":memory:")
    try:
        for table, columns, rows in asyncio.run(_read_tables(url)):
            copy.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
            copy.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", rows)
        yield copy
    finally:
        copy.close()


async def _read_tables(url: str) -> list[tuple[str, list[str], list[tuple[Any, ...]]]]:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            found = []
            for table in TABLES:
                statement = await connection.prepare(f"SELECT * FROM {table}")
                columns = [attribute.name for attribute in statement.get_attributes()]
                found.append((table, columns, [tuple(row) for row in await statement.fetch()]))
            return found
    finally:
        await connection.close()
