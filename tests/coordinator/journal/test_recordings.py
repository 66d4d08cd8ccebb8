"""Recordings stay within their bound, and go with their tasks."""

from __future__ import annotations

from coordinator.journal import sql
from coordinator.journal.pruning import drop_recordings
from tests.support import fakes
from tests.support.fakes import FILE_AND_SERVER, Network, Suite

pytestmark = FILE_AND_SERVER
TEAM = (fakes.RESEARCHER, fakes.ANALYZER, fakes.REPORTER)


async def _recorded(suite: Suite) -> list[str]:
    rows = await suite.services.store.read("SELECT DISTINCT task_id FROM recordings")
    return sorted(task_id for (task_id,) in rows)


async def test_the_oldest_recordings_are_deleted_first(network: Network, journal_url: str) -> None:
    async with Suite(network, *TEAM, record=True, database_url=journal_url) as suite:
        tasks = [(await suite.execute()).task_id for _ in range(3)]
        [(size,)] = await suite.services.store.read(sql.RECORDED_BYTES)

        dropped = await drop_recordings(suite.services.store, most=size // 2)

        assert (dropped, await _recorded(suite)) == (2, tasks[2:])


async def test_a_recording_goes_with_its_task(network: Network, journal_url: str) -> None:
    async with Suite(network, *TEAM, record=True, database_url=journal_url) as suite:
        task = await suite.execute()
        assert await _recorded(suite) == [task.task_id]

        await suite.services.store.prune(before=suite.services.wall() + 1)

        assert await _recorded(suite) == []
        assert (await suite.client.get(f"/tasks/{task.task_id}/recording")).status_code == 404


async def test_nothing_is_recorded_unless_it_is_wanted(suite: Suite) -> None:
    task = await suite.execute()

    assert await _recorded(suite) == []
    assert (await suite.client.get(f"/tasks/{task.task_id}/recording")).status_code == 404
