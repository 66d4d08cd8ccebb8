"""A coordinator that stands still for half a minute, as a machine that is suspended or swaps does."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.fleet.suite import Fleet
from tests.fleet.test_fleet import HAND_OVER_SECONDS
from tests.support.fakes import eventually
from tests.support.history import History
from tests.support.postgres import Server

pytestmark = pytest.mark.timeout(300)
PAUSE_SECONDS = 30.0
TASKS = 12


@pytest.fixture
def fleet(tmp_path: Path, postgres: Server) -> Fleet:
    return Fleet(tmp_path, postgres.make_database())


def _task(seconds: float, delay_ms: int) -> dict[str, object]:
    plan = [
        {"id": "a", "capability": "plain"},
        {"id": "b", "capability": "worker", "needs": ["a"], "input": {"delay_ms": delay_ms}},
    ]
    return {"task_description": "Wait for it", "timeout_seconds": seconds, "plan": plan}


async def test_paused_one_ends_nothing_twice(fleet: Fleet):
    """Its tasks are taken over meanwhile; its callers get their answers, and it goes on as a member."""
    stays, pauses = fleet.urls
    async with fleet.open(), httpx.AsyncClient(timeout=90.0) as http:
        asking = [
            asyncio.create_task(http.post(f"{url}/execute_task", json=_task(60.0, 2_000)))
            for url in (stays, pauses)
            for _ in range(TASKS)
        ]
        short = asyncio.create_task(http.post(f"{pauses}/execute_task", json=_task(5.0, 20_000)))

        async def all_begun() -> bool:
            history = await asyncio.to_thread(History, fleet.database)
            return len(history.tasks) == 2 * TASKS + 1 and all(task["started_at"] for task in history.tasks.values())

        await eventually(all_begun, seconds=30)
        process = fleet.coordinators[1].process
        process.tell(signal.SIGSTOP)
        try:
            await asyncio.sleep(PAUSE_SECONDS)
            meanwhile = await asyncio.to_thread(History, fleet.database)
        finally:
            process.tell(signal.SIGCONT)
        answers = await asyncio.gather(*asking)
        late = await short

        async def goes_on() -> bool:
            asked = await http.post(f"{pauses}/execute_task", json=_task(60.0, 0))
            return asked.status_code == 200

        await eventually(goes_on, seconds=30)
        after = await asyncio.to_thread(History, fleet.database)

    assert meanwhile.open_tasks == set()
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert {answer.json()["status"] for answer in answers} == {"completed"}
    assert (late.status_code, "location" in late.headers) == (503, True), late.text
    accepted = [answer.json()["task_id"] for answer in answers]
    assert after.problems(accepted=accepted, late_seconds=HAND_OVER_SECONDS) == []
