"""An older database in PostgreSQL that is brought up to date: by two at once, and by one that is killed meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from coordinator.journal.postgres.dialect import DIALECT
from load.processes.programs import build_command, start_program
from shared.db.postgres.database import Postgres
from shared.db.postgres.dialect import Dialect
from tests.support.fakes import eventually
from tests.support.postgres import Server

OLD = ("CREATE TABLE notes (number BIGINT); INSERT INTO notes VALUES (1)",)
NEW = (*OLD, "ALTER TABLE notes ADD COLUMN body TEXT", "UPDATE notes SET number = number + 1")
SLOW = (*OLD, NEW[1], f"{NEW[2]}; SELECT pg_sleep(5)")
MIGRATE = """
import asyncio
from shared.db.postgres.database import Postgres
from shared.db.postgres.dialect import Dialect
asyncio.run(Postgres({url!r}, Dialect({migrations!r})).open())
"""


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.make_database()


async def _bring_up(url: str, dialect: Dialect) -> None:
    db = Postgres(url, dialect)
    await db.open()
    await db.close()


async def _read(url: str, sql: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def test_two_bring_an_older_one_up(url):
    """What a migration changes is changed once."""
    await _bring_up(url, Dialect(OLD))

    await asyncio.gather(*(_bring_up(url, Dialect(NEW)) for _ in range(3)))

    assert await _read(url, "SELECT number, body FROM notes") == [(2, None)]
    assert await _read(url, "SELECT version FROM muster_format") == [(3,)]


async def test_two_bring_an_older_journal_up(url):
    """Ours, from its first format on."""
    await _bring_up(url, replace(DIALECT, migrations=DIALECT.migrations[:1]))

    await asyncio.gather(*(_bring_up(url, DIALECT) for _ in range(2)))

    assert await _read(url, "SELECT version FROM muster_format") == [(len(DIALECT.migrations),)]


async def test_killed_one_leaves_the_older_one(url, tmp_path: Path):
    """A migration is one transaction: after `kill -9` nothing of it is there, and the next start makes it whole."""
    await _bring_up(url, Dialect(OLD))
    script = tmp_path / "migrate.py"
    script.write_text(MIGRATE.format(url=url, migrations=SLOW))
    process = start_program(build_command(str(script)), folder=tmp_path, out=tmp_path / "out")
    asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    try:
        await eventually(lambda: _read(url, asleep), seconds=30, why=(tmp_path / "out").read_text)
    finally:
        process.kill()
        process.wait()

    assert await _read(url, "SELECT * FROM notes") == [(1,)]
    assert await _read(url, "SELECT version FROM muster_format") == [(1,)]
    await _bring_up(url, Dialect(NEW))
    assert await _read(url, "SELECT number, body FROM notes") == [(2, None)]
