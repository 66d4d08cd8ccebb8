"""A move that goes wrong leaves nothing at its target and its source as it was; the next one goes well."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from coordinator.journal.moving.move import Moved, move
from coordinator.journal.moving.side import MoveFailed
from shared.errors import MusterError, StorageAway, StorageFull
from tests.support.journals import make_file, read_file
from tests.support.postgres import Server
from tests.support.processes import Disk

pytestmark = pytest.mark.timeout(120)


def silent(*_: object) -> None:
    """Nobody looks."""


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


async def test_death_of_the_server_leaves_nothing(tmp_path: Path, postgres: Server):
    """In the middle of the copy, and in the middle of the comparison."""
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)

    for moment in (("moving", "steps"), ("comparing", "history")):

        def kill(doing: str, table: str, *_: object, at: tuple[str, str] = moment) -> None:
            if (doing, table) == at:
                postgres.stop(kill=True)

        with pytest.raises(StorageAway, match="PostgreSQL does not answer"):
            await move(url_of(file), server, tell=kill)
        await asyncio.to_thread(postgres.start)
        assert postgres.run_sql(server.rpartition("/")[2], "SELECT count(*) FROM history") == "0"

    assert not (await move(url_of(file), server, tell=silent)).again


async def test_full_disk_of_the_target_leaves_nothing(tmp_path: Path, postgres: Server):
    """No part of a file stays on it, and the same command goes well once there is room."""
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)
    await move(url_of(file), server, tell=silent)

    with Disk(tmp_path / "disk", size="256k") as disk:
        there = disk.seen / "muster.db"
        with pytest.raises(StorageFull, match="disk is full"):
            await move(server, url_of(there), tell=silent)
        assert not [path for path in disk.seen.iterdir() if path.suffix != ".lock"]

    await move(server, url_of(tmp_path / "roomy/muster.db"), tell=silent)
    assert len(read_file(tmp_path / "roomy/muster.db")["history"]) == len(read_file(file)["history"])


async def test_coordinator_that_is_only_stopped_is_seen(tmp_path: Path, postgres: Server):
    """It beats no more, and its connection that listens for news is still there."""
    file, server = tmp_path / "muster.db", postgres.make_database()
    await make_file(file)
    connection = await asyncpg.connect(server)
    await connection.add_listener("muster_news", silent)

    with pytest.raises(MoveFailed, match=r"is in use by a coordinator at 127.0.0.1"):
        await move(url_of(file), server, tell=silent)
    await connection.close()

    assert not (await move(url_of(file), server, tell=silent)).again


async def test_two_moves_at_once_are_one(tmp_path: Path, postgres: Server):
    """Of one journal, or into one target: all but one are refused."""
    file, other, server = tmp_path / "muster.db", tmp_path / "other/muster.db", postgres.make_database()
    await make_file(file)
    await make_file(other)

    async def go(source: Path) -> Moved | MusterError:
        try:
            return await move(url_of(source), server, tell=silent)
        except MusterError as exc:
            return exc

    found = await asyncio.gather(go(file), go(file), go(other))

    refused = [one.detail for one in found if isinstance(one, MusterError)]
    assert len(refused) == 2
    assert all("in use" in detail or "is not empty" in detail for detail in refused), refused
