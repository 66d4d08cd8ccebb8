"""Coordinators whose wall clocks are hours apart, and jump: nothing is noticed, for the database's clock counts."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from tests.fleet.suite import Fleet
from tests.fleet.test_fleet import HAND_OVER_SECONDS
from tests.support.fakes import eventually, serving
from tests.support.history import History
from tests.support.postgres import Server
from tests.support.processes import Coordinator

pytestmark = pytest.mark.timeout(300)
HOUR = 3_600
TASKS = 6
NEAR_SECONDS = 120.0  # of times that were noted while the test ran


def _move(coordinator: Coordinator, seconds: int) -> None:
    (coordinator.folder / "moved").write_text(str(seconds))


def _jump(coordinator: Coordinator, seconds: int) -> None:
    _move(coordinator, seconds)
    coordinator.process.tell(signal.SIGUSR1)


def _make_fleet(folder: Path, database: str, *clocks: int) -> Fleet:
    """Coordinators whose clocks are off by so many seconds; tasks are forgotten after half an hour."""
    fleet = Fleet(
        folder,
        database,
        len(clocks),
        module="tests.support.moved_clock",
        warm=False,
        history_days=0.02,
        private_webhooks=True,
    )
    for coordinator, seconds in zip(fleet.coordinators, clocks, strict=True):
        _move(coordinator, seconds)
    return fleet


def _task(delay_ms: int, *, seconds: float = 60.0, **more: Any) -> dict[str, Any]:
    plan = [
        {"id": "a", "capability": "plain"},
        {"id": "b", "capability": "worker", "needs": ["a"], "input": {"delay_ms": delay_ms}},
    ]
    return {"task_description": "Wait for it", "timeout_seconds": seconds, "plan": plan} | more


async def _follow(http: httpx.AsyncClient, url: str, id: str) -> dict[str, Any]:
    async def ended() -> dict[str, Any] | None:
        view: dict[str, Any] = (await http.get(f"{url}/tasks/{id}")).json()
        return view if view["status"] not in ("queued", "running") else None

    view: dict[str, Any] = await eventually(ended, seconds=60)
    return view


async def test_clocks_apart_are_not_noticed(tmp_path: Path, postgres: Server):
    """Tasks, deadlines, webhooks, agents, the history and a hand-over, with two hours between the clocks."""
    told: Counter[str] = Counter()

    async def take(request: Request) -> Response:
        told[request.headers["idempotency-key"]] += 1
        return Response(status_code=204)

    hooks = FastAPI()
    hooks.add_api_route("/done", take, methods=["POST"])
    fleet = _make_fleet(tmp_path, postgres.make_database(), -HOUR, HOUR)
    behind, ahead = fleet.urls
    async with serving(hooks, lifespan=False) as url, fleet.open(), httpx.AsyncClient(timeout=90.0) as http:
        body = _task(1_000, webhook_url=f"{url}/done")
        asked = [http.post(f"{at}/execute_task", json=body) for at in fleet.urls for _ in range(TASKS)]
        late = [http.post(f"{at}/execute_task", json=_task(30_000, seconds=3.0)) for at in fleet.urls]
        answers = [answer.json() for answer in await asyncio.gather(*asked)]
        cut_off = [answer.json() for answer in await asyncio.gather(*late)]
        ids = {view["task_id"] for view in answers}
        await eventually(lambda: told.keys() >= ids or None, seconds=60)
        agents = [agent for at in fleet.urls for agent in (await http.get(f"{at}/agents")).json()["agents"]]

        wait = {"Prefer": "respond-async"}
        begun = [(await http.post(f"{ahead}/execute_task", json=_task(3_000), headers=wait)).json() for _ in range(4)]
        await asyncio.sleep(1.0)
        fleet.coordinators[1].kill()
        moved = [await _follow(http, behind, view["task_id"]) for view in begun]
        await asyncio.to_thread(lambda: fleet.coordinators[1].start().ready())
        after = await asyncio.to_thread(History, fleet.database)

    kept = [after.tasks[id] for id in ids]
    assert {view["status"] for view in [*answers, *moved]} == {"completed"}
    assert {view["status"] for view in cut_off} <= {"timed_out", "partial"}
    assert {agent["status"] for agent in agents} == {"healthy"}
    assert told == dict.fromkeys(ids, 1)
    assert max(abs(task["finished_at"] - time.time()) for task in kept) < NEAR_SECONDS
    assert all(task["created_at"] <= task["started_at"] <= task["finished_at"] for task in kept)
    assert after.problems(accepted=[*ids, *(v["task_id"] for v in begun)], late_seconds=HAND_OVER_SECONDS) == []


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_jump_of_one_clock_ends_nothing(tmp_path: Path, postgres: Server, jump: int):
    """Neither the tasks of the others, which it would take for overdue, nor its own."""
    fleet = _make_fleet(tmp_path, postgres.make_database(), 0, 0)
    async with fleet.open(), httpx.AsyncClient(timeout=90.0) as http:
        asked = [
            asyncio.create_task(http.post(f"{url}/execute_task", json=_task(6_000)))
            for url in fleet.urls
            for _ in range(TASKS)
        ]

        async def all_begun() -> bool:
            history = await asyncio.to_thread(History, fleet.database)
            return len(history.tasks) == 2 * TASKS and all(task["started_at"] for task in history.tasks.values())

        await eventually(all_begun, seconds=30)
        _jump(fleet.coordinators[1], jump)
        answers = [answer.json() for answer in await asyncio.gather(*asked)]
        after = await asyncio.to_thread(History, fleet.database)
        executions = Counter((task, step) for _, task, step in fleet.agents.executions())
    said = [coordinator.process.output for coordinator in fleet.coordinators]

    assert {view["status"] for view in answers} == {"completed"}
    assert max(executions.values()) == 1
    assert "task.taken_over" not in "".join(said)
    assert after.problems(accepted=[view["task_id"] for view in answers]) == []
