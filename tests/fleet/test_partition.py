"""A coordinator that is cut off from PostgreSQL, and nobody else: its callers are answered, its tasks taken over."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from tests.fleet.suite import Fleet
from tests.support.fakes import eventually
from tests.support.history import ANSWER_SECONDS, History
from tests.support.link import Link
from tests.support.postgres import Server

pytestmark = pytest.mark.timeout(300)
TASKS = 8
NOTICED_SECONDS = 20.0
SECONDS = 25.0  # of the tasks
BUSY_SECONDS = 5.0  # that a request may wait on a busy machine before it is read


def _task(seconds: float, delay_ms: int) -> dict[str, object]:
    plan = [
        {"id": "a", "capability": "plain"},
        {"id": "b", "capability": "worker", "needs": ["a"], "input": {"delay_ms": delay_ms}},
    ]
    return {"task_description": "Wait for it", "timeout_seconds": seconds, "plan": plan}


async def _measure(http: httpx.AsyncClient, url: str, body: dict[str, object]) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    answer = await http.post(f"{url}/execute_task", json=body)
    return answer, time.monotonic() - began


@pytest.mark.parametrize("how", ["silence", "cut"])
async def test_cut_off_one_answers_and_comes_back(tmp_path: Path, postgres: Server, how: str):
    """Its callers get 503 with Location by their deadline, the other one does the work, and nothing is done twice."""
    database = postgres.make_database()
    async with Link(postgres.port) as link, httpx.AsyncClient(timeout=90.0) as http:
        fleet = Fleet(tmp_path, database, ways=(database, link.lead(database)))
        well, cut_off = fleet.urls
        async with fleet.open():
            asking = [
                asyncio.create_task(_measure(http, url, _task(SECONDS, 3_000)))
                for url in (well, cut_off)
                for _ in range(TASKS)
            ]

            async def all_begun() -> bool:
                history = await asyncio.to_thread(History, database)
                return len(history.tasks) == 2 * TASKS and all(task["started_at"] for task in history.tasks.values())

            await eventually(all_begun, seconds=30)
            getattr(link, how)()
            began = time.monotonic()
            refused = asyncio.create_task(_measure(http, cut_off, _task(5.0, 0)))

            async def says_why() -> str | None:
                ready = await http.get(f"{cut_off}/ready")
                return ready.text if ready.status_code == 503 else None

            why: str = await eventually(says_why, seconds=NOTICED_SECONDS)
            noticed = time.monotonic() - began

            async def all_ended() -> bool:
                return not (await asyncio.to_thread(History, database)).open_tasks

            await eventually(all_ended, seconds=60)
            moved = time.monotonic() - began
            answers = await asyncio.gather(*asking)
            new, new_took = await refused
            link.heal()
            healed = time.monotonic()

            async def is_ready() -> bool:
                return (await http.get(f"{cut_off}/ready")).status_code == 200

            await eventually(is_ready, seconds=30)
            back = time.monotonic() - healed

            async def goes_on() -> bool:
                return (await http.post(f"{cut_off}/execute_task", json=_task(60.0, 0))).status_code == 200

            await eventually(goes_on, seconds=30)
            await eventually(all_ended, seconds=30)
            found = [await http.get(f"{well}{a.headers['Location']}") for a, _ in answers if a.status_code == 503]
            after = await asyncio.to_thread(History, database)

    print(f"\nnoticed after {noticed:.1f} s, all ended after {moved:.1f} s, ready {back:.1f} s after it was healed")
    print(f"new task: {new.status_code} after {new_took:.1f} s; {[a.status_code for a, _ in answers]}")
    assert "PostgreSQL does not answer" in why
    assert {answer.status_code for answer, _ in answers} <= {200, 503}
    assert max(took for _, took in answers) <= SECONDS + ANSWER_SECONDS + BUSY_SECONDS
    assert {view.json()["status"] for view in found} <= {"completed"}
    assert (new.status_code, "location" in new.headers) == (503, True), new.text
    assert new_took <= 5.0 + ANSWER_SECONDS + BUSY_SECONDS
    late = new.headers["Location"].rpartition("/")[2]  # in the journal since it was healed, if at all
    accepted = [answer.headers["Location"].rpartition("/")[2] for answer, _ in answers]
    assert [problem for problem in after.problems(accepted=accepted) if late not in problem] == []
