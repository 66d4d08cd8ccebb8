"""Brings a file of SQLite to the newest format: each step whole or not at all, and told of while it takes its time."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence

from shared import logs
from shared.failpoints import At, nowhere

TOLD_SECONDS = 2.0  # between two lines about a step that takes its time
_OPERATIONS = 200_000  # of SQLite's machine, between two looks at the clock: some milliseconds
_PAGES = 64_000  # KiB that may be kept in memory meanwhile


def migrate(connection: sqlite3.Connection, migrations: Sequence[str], *, at: At = nowhere) -> None:
    """Runs the migrations that the file has not seen. One that is cut off, by a kill too, has changed nothing.

    `user_version` counts them. Named points: `migrate.N.begun`, `.part`, `.written`, `.committed`.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    kept = connection.execute("PRAGMA cache_size").fetchone()[0]
    for number, script in enumerate(migrations[version:], start=version + 1):
        connection.execute(f"PRAGMA cache_size=-{_PAGES}")
        try:
            _run(connection, number, list(_split_statements(script)), at)
        finally:
            connection.set_progress_handler(None, 0)
            connection.execute(f"PRAGMA cache_size={kept}")


def go_back(connection: sqlite3.Connection, ways: Mapping[int, str], *, to: int) -> None:
    """Runs the ways back, by the format that each leaves, until the file has the format `to`."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    for number in range(version, to, -1):
        _run(connection, number - 1, list(_split_statements(ways[number])), nowhere)
    connection.set_progress_handler(None, 0)


def _run(connection: sqlite3.Connection, number: int, parts: Sequence[str], at: At) -> None:
    began = told = time.monotonic()
    done = 0

    def tell() -> int:
        nonlocal told
        if (now := time.monotonic()) - told >= TOLD_SECONDS:
            told = now
            logs.get().info(
                "journal.migrating", format=number, part=f"{done + 1} of {len(parts)}", seconds=round(now - began)
            )
        return 0  # anything else would stop it

    connection.set_progress_handler(tell, _OPERATIONS)
    connection.execute("BEGIN IMMEDIATE")
    at(f"migrate.{number}.begun")
    try:
        for done, part in enumerate(parts):  # noqa: B007 (told above)
            connection.execute(part)
            at(f"migrate.{number}.part")
        connection.execute(f"PRAGMA user_version = {number}")
        at(f"migrate.{number}.written")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    at(f"migrate.{number}.committed")
    if told > began:
        logs.get().info("journal.migrated", format=number, seconds=round(time.monotonic() - began))


def _split_statements(script: str) -> Iterator[str]:
    """The statements of a script; one ends where SQLite's own rules say so, for a trigger has several inside."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n;"):
                yield statement
            statement = ""
