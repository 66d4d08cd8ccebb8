"""A coordinator whose journal is in PostgreSQL, when the server dies under it."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import httpx
import pytest

from tests.fleet.suite import Fleet
from tests.support.fakes import eventually
from tests.support.history import History
from tests.support.postgres import Server
from tests.support.processes import Agents, Coordinator
from tests.system.test_kill import NOTHING_WRONG, SEED, Bench

pytestmark = pytest.mark.timeout(300)
RESTARTS = 5
OVERDUE = 100  # tasks


async def test_deaths_of_the_database_lose_nothing(tmp_path, postgres: Server):
    """Tasks pause and go on; every caller gets its answer; nothing is run again."""
    bench = Bench(tmp_path, SEED + 2, postgres.make_database())
    async with bench.open():
        for _ in range(RESTARTS):
            await asyncio.sleep(bench.random.uniform(0.2, 1.0))
            await asyncio.to_thread(postgres.stop, kill=True)
            await asyncio.sleep(bench.random.uniform(0.0, 1.0))
            await asyncio.to_thread(postgres.start)
        figures = await bench.finish()
    print(figures)

    assert bench.problems == []
    assert figures["tasks"] > 10
    assert figures.items() >= NOTHING_WRONG.items()


async def test_ready_says_why_and_callers_are_answered(tmp_path, postgres: Server):
    """A task whose database is away is answered by its deadline, and ends within two seconds of the return."""
    with Coordinator(tmp_path / "c", journal=postgres.make_database()) as coordinator:
        coordinator.start().ready()
        with Agents(tmp_path / "agents", coordinator.url) as agents:
            agents.register()
            async with httpx.AsyncClient(base_url=coordinator.url, timeout=30.0) as http:
                plan = [{"id": "a", "capability": "plain", "input": {"delay_ms": 1_000}}]
                body = {"task_description": "Wait", "timeout_seconds": 4.0, "plan": plan}
                asking = asyncio.create_task(http.post("/execute_task", json=body))
                await eventually(lambda: _running(http), seconds=10)
                await asyncio.to_thread(postgres.stop, kill=True)
                answer = await asyncio.wait_for(asking, 10)
                ready = await http.get("/ready")
                await asyncio.to_thread(postgres.start)

                async def ended() -> str | None:
                    found = await http.get(answer.headers["Location"])
                    status: str = found.json().get("status", "") if found.status_code == 200 else ""
                    return status if status not in ("", "queued", "running") else None

                status = await eventually(ended, seconds=15)
                again = await http.get("/ready")

    assert answer.status_code == 503, answer.text
    assert ready.status_code == 503
    assert "PostgreSQL does not answer" in ready.text
    assert status in ("completed", "timed_out")
    assert again.status_code == 200


async def test_overdue_tasks_end_together(tmp_path, postgres: Server):
    """Deadlines pass while the server is away: those that run and those that wait end at once when it is back."""
    fleet = Fleet(tmp_path, postgres.make_database(), max_concurrent_tasks=4)  # too few for a breaker
    plan = [{"id": "a", "capability": "plain", "input": {"delay_ms": 60_000}}]
    body = {"task_description": "Wait", "timeout_seconds": 6.0, "plan": plan}
    async with fleet.open(), httpx.AsyncClient(timeout=60.0) as http:
        urls = [fleet.urls[n % 2] for n in range(OVERDUE)]
        wait = {"Prefer": "respond-async"}
        asked = await asyncio.gather(*(http.post(f"{u}/execute_task", json=body, headers=wait) for u in urls))
        accepted = [answer.json()["task_id"] for answer in asked]
        last = time.monotonic()
        await asyncio.to_thread(postgres.stop, kill=True)
        before = time.monotonic() - last
        await asyncio.sleep(7.0)
        await asyncio.to_thread(postgres.start)
        back = time.monotonic()
        connection = await asyncpg.connect(fleet.database)

        async def count() -> dict[str, int]:
            both = "SELECT status FROM tasks UNION ALL SELECT status FROM history"
            return dict(await connection.fetch(f"SELECT status, count(*) FROM ({both}) AS t GROUP BY status"))

        async def all_ended() -> bool:
            return not {"queued", "running"} & (await count()).keys()

        await eventually(all_ended, seconds=60)
        took = time.monotonic() - back
        ends = await count()
        await connection.close()
        after = await asyncio.to_thread(History, fleet.database)

    print(f"\n{OVERDUE} tasks had timed out {took:.2f} s after the server was back")
    assert before < 5.0, "the server was to be away when the deadlines passed"
    assert ends == {"timed_out": OVERDUE}
    assert after.problems(accepted=accepted, late_seconds=60.0) == []


async def _running(http: httpx.AsyncClient) -> bool | None:
    return (await http.get("/stats")).json()["now"]["running"] > 0 or None
