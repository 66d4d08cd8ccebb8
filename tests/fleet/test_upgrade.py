"""Coordinators that are stopped one after the other, by their own version or the next one: no caller notices."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.settings import CoordinatorSettings
from tests.fleet.suite import Fleet
from tests.support.fakes import eventually
from tests.support.history import History
from tests.support.postgres import Server, read_database
from tests.support.previous import Release
from tests.support.processes import STOP_SECONDS, Coordinator, wait_until_it_answers

pytestmark = pytest.mark.timeout(300)
BEFORE = Release("before", "cda6d96e1f387d1661e4be5471c7e21724bc33d5", 2)  # the last one whose tables had format 2
DRAIN = CoordinatorSettings.model_fields["drain_seconds"].default
STOPPED = -signal.SIGTERM  # uvicorn ends by the signal that it was sent


@pytest.fixture
def fleet(tmp_path: Path, postgres: Server) -> Fleet:
    return Fleet(tmp_path, postgres.make_database())


def task(**given: object) -> dict[str, object]:
    steps = [{"id": "a", "capability": "plain"}, {"id": "b", "capability": "worker", "needs": ["a"], "input": given}]
    return {"task_description": "Wait for it", "timeout_seconds": 60.0, "plan": steps}


async def ask(url: str, **given: object) -> httpx.Response:
    """As curl does it: once."""
    async with httpx.AsyncClient(timeout=60.0) as http:
        return await http.post(f"{url}/execute_task", json=task(**given))


async def stop(coordinator: Coordinator) -> int | None:
    coordinator.terminate()
    return await asyncio.to_thread(coordinator.process.wait, DRAIN + STOP_SECONDS)


def find_carriers(database: str) -> list[int]:
    """The ports of those who carry tasks that have not ended."""
    with read_database(database) as copy:
        rows = copy.execute(
            "SELECT c.address FROM tasks AS t JOIN coordinators AS c ON c.id = t.carrier WHERE t.finished_at IS NULL"
        ).fetchall()
    return [int(address.rpartition(":")[2]) for (address,) in rows]


class Balancer:
    """A proxy that leaves out who is not ready, and sends nothing a second time that may have been heard."""

    def __init__(self, urls: list[str]) -> None:
        self._turns = itertools.cycle(urls)

    async def ask(self, http: httpx.AsyncClient, **given: object) -> httpx.Response:
        while True:
            url = next(self._turns)
            with contextlib.suppress(httpx.TransportError):  # of a connection to one that is gone
                if (await http.get(f"{url}/ready")).status_code == 200:
                    break
            await asyncio.sleep(0.05)
        return await http.post(f"{url}/execute_task", json=task(**given))


async def test_callers_of_one_that_stops_are_answered(fleet: Fleet):
    """Whoever carries their tasks: what was begun here ends here, the rest at the other."""
    async with fleet.open():
        first, second = fleet.coordinators
        asking = [asyncio.create_task(ask(second.url, delay_ms=500 * n)) for n in range(8)]
        await asyncio.sleep(0.7)
        code = await stop(second)
        answers = await asyncio.gather(*asking)
        executions = fleet.agents.executions()
        last = await ask(first.url)

    assert [answer.status_code for answer in answers] == [200] * 8
    assert {answer.json()["status"] for answer in answers} == {"completed"}
    assert len(executions) == len({(task, step) for _, task, step in executions})  # nothing was run again
    assert code == STOPPED
    assert last.status_code == 200


async def test_one_that_stops_is_not_ready_and_answers(fleet: Fleet):
    """A load balancer leaves it out before it is gone; what comes in between goes to the other."""
    async with fleet.open():
        _, second = fleet.coordinators
        waiting = asyncio.create_task(ask(second.url, delay_ms=2_000))
        await asyncio.sleep(0.5)
        second.terminate()

        async def unready() -> httpx.Response | None:
            async with httpx.AsyncClient() as http:
                answer = await http.get(f"{second.url}/ready")
            return answer if answer.status_code == 503 else None

        ready = await eventually(unready, seconds=5)
        late = await ask(second.url)
        first = await waiting
        code = await asyncio.to_thread(second.process.wait, DRAIN)

    assert ready.json()["missing"] == "stopping"
    assert ready.headers["Connection"] == late.headers["Connection"] == "close"
    assert (first.status_code, late.status_code, code) == (200, 200, STOPPED)


async def test_restarts_in_turn_fail_nothing(fleet: Fleet):
    """Callers without a second try, behind a load balancer, while each coordinator is replaced twice."""
    answers: list[httpx.Response] = []
    async with fleet.open():
        balancer, over = Balancer(fleet.urls), asyncio.Event()

        async def call() -> None:
            async with httpx.AsyncClient(timeout=60.0) as http:
                while not over.is_set():
                    answers.append(await balancer.ask(http, delay_ms=200))

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(call())
            for number in range(4):
                coordinator = fleet.coordinators[number % 2]
                assert await stop(coordinator) == STOPPED
                await asyncio.to_thread(lambda c=coordinator: c.start().ready())
                await asyncio.sleep(1.0)
            over.set()
        executions = fleet.agents.executions()

    print({"answers": len(answers)})
    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "completed")}
    assert len(executions) == len({(task, step) for _, task, step in executions})


async def test_task_that_lasts_longer_is_handed_over(tmp_path: Path, postgres: Server):
    """Its caller gets its address; its finished step is not run again."""
    fleet = Fleet(tmp_path, postgres.make_database(), drain_seconds=1)
    async with fleet.open():
        _, second = fleet.coordinators

        async def carried_by_the_second() -> asyncio.Task[httpx.Response] | None:
            asking = asyncio.create_task(ask(second.url, delay_ms=6_000))
            await asyncio.sleep(1.0)
            if await asyncio.to_thread(find_carriers, fleet.database) == [second.port]:
                return asking
            await asking
            return None

        asking = await eventually(carried_by_the_second, seconds=90)
        began = time.monotonic()
        code = await stop(second)
        took = time.monotonic() - began
        answer = await asking
        async with httpx.AsyncClient(base_url=fleet.urls[0], timeout=60.0) as http:

            async def ended() -> Any:
                view = (await http.get(answer.headers["Location"])).json()
                return view if view["status"] not in ("queued", "running") else None

            view = await eventually(ended, seconds=30)
        executions = [step for _, id, step in fleet.agents.executions() if id == view["task_id"]]

    assert (answer.status_code, code) == (503, STOPPED)
    assert took < 10
    assert view["status"] == "completed"
    assert executions.count("a") == 1


async def test_the_last_one_stops_at_once(tmp_path: Path, postgres: Server):
    """There is nobody to go on: its callers are told where their tasks will be, as with a file."""
    fleet = Fleet(tmp_path, postgres.make_database(), 1)
    async with fleet.open():
        (only,) = fleet.coordinators
        asking = asyncio.create_task(ask(only.url, delay_ms=20_000))
        await asyncio.sleep(1.0)
        code = await stop(only)
        answer = await asking

    assert (answer.status_code, code) == (503, STOPPED)
    assert answer.headers["Location"]


async def test_two_versions_share_a_database(tmp_path: Path, postgres: Server):
    """The version before goes on when its successor has migrated; tasks run on both, and either ends the other's."""
    old = BEFORE.unpack(tmp_path)
    fleet = Fleet(tmp_path, postgres.make_database())
    before = Coordinator(
        tmp_path / "before",
        journal=fleet.database,
        warm=False,
        through=["env", f"PYTHONPATH={old}"],
        log_level="WARNING",
    )
    with before:
        await asyncio.to_thread(lambda: before.start().ready())
        async with fleet.open():
            urls = [before.url, *fleet.urls]
            for url in urls:
                await asyncio.to_thread(wait_until_it_answers, f"{url}/ready", before.process)
            answers = await asyncio.gather(*(ask(url, delay_ms=200) for url in urls * 6))
            left = asyncio.create_task(ask(fleet.urls[0], delay_ms=3_000))
            await asyncio.sleep(1.0)
            before.kill()  # what it carried is taken up by the next version, with the plan it has
            last = await left
            end = await asyncio.to_thread(History, fleet.database)

    assert {(answer.status_code, answer.json().get("status")) for answer in answers} == {(200, "completed")}
    assert last.status_code == 200
    assert end.problems(accepted=[], answers={}) == []
