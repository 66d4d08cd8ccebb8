"""Two coordinators over one PostgreSQL, one of them killed again and again: the other one goes on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from shared.agent_loop.peers import ASKED_AS
from shared.limits.envelope import HEADER, Envelope, derive_key, seal
from tests.fleet.suite import Fleet
from tests.support.fakes import eventually
from tests.support.history import History
from tests.support.postgres import Server, read_database
from tests.support.processes import Coordinator

pytestmark = pytest.mark.timeout(300)
HAND_OVER_SECONDS = 8.0


@pytest.fixture
def fleet(tmp_path: Path, postgres: Server) -> Fleet:
    return Fleet(tmp_path, postgres.make_database())


def _task(**given: object) -> dict[str, object]:
    plan = [
        {"id": "a", "capability": "plain"},
        {"id": "b", "capability": "worker", "needs": ["a"], "input": given},
    ]
    return {"task_description": "Wait for it", "timeout_seconds": 60.0, "plan": plan}


async def test_task_moves_within_eight_seconds(fleet: Fleet):
    """Its finished step is not run again, and whoever waits at the other coordinator is answered."""
    async with fleet.open(), httpx.AsyncClient(timeout=60.0) as http:

        async def begin_at_the_second() -> str | None:
            """The agents send their heartbeats to the first, which stays."""
            body = _task(delay_ms=3_000)
            asked = await http.post(f"{fleet.urls[1]}/execute_task", json=body, headers={"Prefer": "respond-async"})
            id: str = asked.json()["task_id"]

            async def carrier() -> str | None:
                history = await asyncio.to_thread(History, fleet.database)
                return str(history.tasks[id]["carrier"] or "") if ("a" in _ended(history, id)) else None

            at = await asyncio.to_thread(_find_address, fleet.database, await eventually(carrier, seconds=20))
            return id if at.rpartition(":")[2] == fleet.urls[1].rpartition(":")[2] else None

        id = await eventually(begin_at_the_second, seconds=60)
        fleet.coordinators[1].kill()
        began = time.monotonic()
        other = fleet.urls[0]

        async def ended() -> dict[str, object] | None:
            view: dict[str, object] = (await http.get(f"{other}/tasks/{id}")).json()
            return view if view["status"] not in ("queued", "running") else None

        view = await eventually(ended, seconds=40)
        took = time.monotonic() - began
        executions = [name for _, task, name in fleet.agents.executions() if task == id]

    print(f"moved and done after {took:.1f} s")
    assert view["status"] == "completed"
    assert executions.count("a") == 1


async def test_work_of_a_busy_one_is_shared(fleet: Fleet):
    """What one accepts beyond its share goes to whoever is free; all are answered where they were asked."""
    async with fleet.open(), httpx.AsyncClient(timeout=60.0) as http:
        asked = [http.post(f"{fleet.urls[0]}/execute_task", json=_task(delay_ms=1_500)) for _ in range(40)]
        answers = asyncio.gather(*asked)

        async def carriers() -> bool:
            open_ = (await asyncio.to_thread(History, fleet.database)).tasks.values()
            return len({task["carrier"] for task in open_ if task["carrier"]}) == 2

        assert await eventually(carriers, seconds=20)
        assert {answer.json()["status"] for answer in await answers} == {"completed"}


def _ended(history: History, id: str) -> set[str]:
    return {step for task, step in history.ended_steps if task == id}


def _find_address(database: str, who: str) -> str:
    with read_database(database) as copy:
        found: str = copy.execute("SELECT address FROM coordinators WHERE id = ?", (who,)).fetchone()[0]
        return found


@pytest.mark.parametrize("where", [0, 1])
async def test_cancel_reaches_whoever_carries_it(fleet: Fleet, where: int):
    async with fleet.open(), httpx.AsyncClient(timeout=60.0) as http:
        asked = await http.post(
            f"{fleet.urls[0]}/execute_task", json=_task(delay_ms=30_000), headers={"Prefer": "respond-async"}
        )
        id = asked.json()["task_id"]
        await asyncio.sleep(1.0)
        await http.post(f"{fleet.urls[where]}/tasks/{id}/cancel")

        async def ended() -> str | None:
            status: str = (await http.get(f"{fleet.urls[1 - where]}/tasks/{id}")).json()["status"]
            return status if status not in ("queued", "running") else None

        assert await eventually(ended, seconds=20) == "cancelled"


async def test_same_key_at_both_is_one_task(fleet: Fleet):
    """Whoever comes second waits for the first one's task."""
    async with fleet.open(), httpx.AsyncClient(timeout=60.0) as http:
        headers = {"Idempotency-Key": "one"}
        answers = await asyncio.gather(
            *(http.post(f"{url}/execute_task", json=_task(), headers=headers) for url in fleet.urls * 2)
        )

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["task_id"] for answer in answers}) == 1


async def test_events_are_followed_at_the_other(fleet: Fleet):
    """Live, whoever carries the task."""
    async with fleet.open(), httpx.AsyncClient(timeout=60.0) as http:
        for url in fleet.urls:
            asked = await http.post(
                f"{fleet.urls[0]}/execute_task", json=_task(delay_ms=300), headers={"Prefer": "respond-async"}
            )
            id = asked.json()["task_id"]
            kinds = []
            async with http.stream("GET", f"{url}/tasks/{id}/events") as stream:
                async for line in stream.aiter_lines():
                    if line.startswith("event: "):
                        kinds.append(line.removeprefix("event: "))
            assert kinds[0] == "task.accepted"
            assert "task.finished" in kinds


async def test_delegation_reaches_whoever_carries_the_step(fleet: Fleet):
    """An agent asks the coordinator that it knows, which need not be the one that it works for."""
    async with fleet.open(), httpx.AsyncClient(timeout=60.0) as http:
        asked = await http.post(
            f"{fleet.urls[0]}/execute_task", json=_task(delay_ms=8_000), headers={"Prefer": "respond-async"}
        )
        id = asked.json()["task_id"]
        with_step = lambda: _find_instance(fleet.database, id)  # noqa: E731
        instance = await eventually(with_step, seconds=30)
        body = b'{"agent": "plain", "task": "Help me."}'
        envelope = Envelope(id, "b", 1, 5_000)
        key = derive_key(bytes.fromhex(await asyncio.to_thread(_find_secret, fleet.database)), instance)
        headers = {HEADER: seal(envelope, key=key, body=body), ASKED_AS: instance, "Content-Type": "application/json"}
        answers = [await http.post(f"{url}/delegate", content=body, headers=headers) for url in fleet.urls]

    assert [answer.status_code for answer in answers] == [200, 200], [answer.text for answer in answers]
    assert {answer.json()["agent"] for answer in answers} == {"plain"}


async def test_address_that_is_set_is_told(tmp_path: Path, postgres: Server):
    """Where host names do not resolve, as between pods, a coordinator is told what the others reach it at."""
    database, at = postgres.make_database(), "http://10.1.2.3:8000"

    def read() -> list[tuple[str]]:
        with read_database(database) as copy:
            return copy.execute("SELECT address FROM coordinators").fetchall()

    async def told() -> list[tuple[str]] | None:
        return await asyncio.to_thread(read) or None

    with Coordinator(tmp_path, journal=database, advertise_url=at) as coordinator:
        await asyncio.to_thread(lambda: coordinator.start().ready())
        assert await eventually(told, seconds=10) == [(at,)]


async def _find_instance(database: str, id: str) -> str | None:
    history = await asyncio.to_thread(History, database)
    step = history.steps.get((id, "b"))
    return step["instance"] if step is not None else None


def _find_secret(database: str) -> str:
    with read_database(database) as copy:
        found: str = copy.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()[0]
        return found
