"""A disk that is really full: new tasks are refused with a name, reads go on, and freed space is enough to go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fakes import eventually
from tests.support.history import Answer, History
from tests.support.processes import Agents, Coordinator, Disk, output_of

SIZE = "2m"
AGAIN_SECONDS = 5.0  # after space was freed, tasks are taken again, without a restart

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with Disk(tmp_path / "disk", size=SIZE) as disk:
        yield disk


@pytest.fixture
def coordinator(disk: Disk, tmp_path: Path) -> Iterator[Coordinator]:
    folder = tmp_path / "coordinator"
    with Coordinator(folder, journal=disk.path / "muster.db", through=disk.through) as coordinator:
        yield coordinator.start().ready()


@pytest.fixture
def agents(coordinator: Coordinator, tmp_path: Path) -> Iterator[Agents]:
    with Agents(tmp_path / "agents", coordinator.url) as agents:
        agents.register()
        yield agents


@pytest.fixture
async def client(coordinator: Coordinator, agents: Agents) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=coordinator.url, timeout=60.0) as client:
        yield client


def task(timeout_seconds: float = 30.0, **given: Any) -> dict[str, Any]:
    plan = [
        {"id": "a", "capability": "plain", "input": given},
        {"id": "b", "capability": "worker", "needs": ["a"], "input": given},
    ]
    return {"task_description": "Fill it", "timeout_seconds": timeout_seconds, "plan": plan}


async def begin(client: httpx.AsyncClient, **fields: Any) -> str:
    answer = await client.post("/execute_task", json=task(**fields), headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    id: str = answer.json()["task_id"]
    return id


async def status(client: httpx.AsyncClient, id: str) -> str:
    found: str = (await client.get(f"/tasks/{id}")).json()["status"]
    return found


async def history(coordinator: Coordinator, disk: Disk) -> History:
    coordinator.terminate()
    await asyncio.to_thread(coordinator.process.wait)
    return History(disk.seen / "muster.db")


async def test_full_disk_refuses_tasks_reads_go_on(client, coordinator, disk):
    """On a full disk new tasks are refused and reads go on."""
    done = (await client.post("/execute_task", json=task())).json()["task_id"]
    disk.fill()

    refused = await client.post("/execute_task", json=task())

    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:muster:problem:storage_full"
    assert int(refused.headers["retry-after"]) > 0
    ready = await client.get("/ready")
    assert (ready.status_code, "disk is full" in ready.json()["missing"]) == (503, True)
    for path in ("/health", "/agents", "/stats", "/tasks", f"/tasks/{done}", f"/tasks/{done}/report"):
        assert (await client.get(path)).status_code == 200, path
    events = (await client.get(f"/tasks/{done}/events")).text
    assert "event: task.finished" in events
    assert coordinator.process.alive


async def test_ready_says_when_there_is_room_again(client, coordinator, disk):
    """Without a task that would try it: whoever sends tasks may wait for `/ready`."""
    disk.fill()
    assert (await client.post("/execute_task", json=task())).status_code == 503
    assert (await client.get("/ready")).status_code == 503

    disk.free()

    async def ready() -> bool:
        return (await client.get("/ready")).status_code == 200

    await eventually(ready, seconds=AGAIN_SECONDS)


async def test_freed_space_is_enough_within_five_seconds(client, coordinator, disk):
    """Three times over; nothing accepted is lost and the file is sound."""
    accepted = []
    for _ in range(3):
        disk.fill()
        assert (await client.post("/execute_task", json=task())).status_code == 503
        disk.free()
        freed_at = time.monotonic()

        async def taken() -> str | None:
            answer = await client.post("/execute_task", json=task())
            return answer.json()["task_id"] if answer.status_code == 200 else None

        accepted.append(await eventually(taken, seconds=AGAIN_SECONDS))
        print(f"taken again {time.monotonic() - freed_at:.2f} s after space was freed")

    assert (await history(coordinator, disk)).problems(accepted=accepted) == []


async def test_results_wait_for_room(client, coordinator, disk, agents):
    """Their steps ended on a full disk: the results are kept, written later, and not made again."""
    ids = [await begin(client, delay_ms=400) for _ in range(10)]
    disk.fill()
    await asyncio.sleep(1.5)
    assert {await status(client, id) for id in ids} == {"running"}
    executed = agents.executions()

    disk.free()

    for id in ids:
        await eventually(lambda id=id: _ended(client, id), seconds=AGAIN_SECONDS)
        view = (await client.get(f"/tasks/{id}")).json()
        assert view["status"] == "completed"
        assert {s["step_id"]: s["output"] for s in view["results"]} == {s: output_of(id, s) for s in "ab"}
    assert len(agents.executions()) == 2 * len(ids)
    assert len(executed) >= len(ids)
    assert (await history(coordinator, disk)).problems(accepted=ids) == []


async def _ended(client: httpx.AsyncClient, id: str) -> bool:
    return await status(client, id) not in ("queued", "running")


async def test_late_written_result_is_in_the_answer(client, coordinator, disk):
    """The step was done in time; only the disk was not."""
    id = await begin(client, timeout_seconds=2.0, delay_ms=300)
    await asyncio.sleep(0.1)
    disk.fill()
    await asyncio.sleep(3.0)
    assert await status(client, id) == "running"

    disk.free()
    await eventually(lambda: _ended(client, id), seconds=AGAIN_SECONDS)

    view = (await client.get(f"/tasks/{id}")).json()
    assert {s["step_id"]: s["status"] for s in view["results"]}["a"] == "completed"
    assert view["status"] == "partial"
    assert (await history(coordinator, disk)).problems(accepted=[id], late_seconds=10.0) == []


async def test_caller_is_answered_whatever_the_disk_does(client, disk):
    """Some end before the disk is full, the others hear where their task is to be found."""
    answers: list[tuple[Answer, httpx.Response]] = []

    async def call(number: int) -> None:
        began = time.monotonic()
        answer = await client.post("/execute_task", json=task(timeout_seconds=2.0, delay_ms=100 * number))
        answers.append((Answer(time.monotonic() - began, 2.0), answer))

    async with asyncio.TaskGroup() as calls:
        for number in range(8):
            calls.create_task(call(number))
        await asyncio.sleep(0.35)
        disk.fill()

    assert len(answers) == 8
    assert [a for a, _ in answers if a.seconds > a.timeout_seconds + 1.0] == []
    for _, answer in answers:
        assert answer.status_code in (200, 503), answer.text
        assert answer.headers["location"].startswith("/tasks/")
    assert {answer.status_code for _, answer in answers} == {200, 503}


async def test_a_disk_that_fills_up_under_load_loses_nothing(client, coordinator, disk):
    """Large results until nothing goes any more: whole commits fail, and every caller knows where it is."""
    accepted, refused = [], 0
    while refused < 20:
        answer = await client.post("/execute_task", json=task(size=20_000), headers={"Prefer": "respond-async"})
        if answer.status_code == 202:
            accepted.append(answer.json()["task_id"])
        else:
            assert answer.json()["type"] == "urn:muster:problem:storage_full"
            refused += 1
        assert len(accepted) < 1_000
    await asyncio.sleep(1.0)
    assert coordinator.process.alive
    seen = [await status(client, id) for id in accepted]
    assert set(seen) <= {"running", "completed"}

    coordinator.kill()
    crashed = History(disk.seen / "muster.db")

    assert crashed.integrity == "ok"
    assert [id for id in accepted if id not in crashed.tasks] == []
    assert [id for id, was in zip(accepted, seen, strict=True) if was == "completed" and id in crashed.open_tasks] == []


async def test_registration_on_a_full_disk_is_kept(client, coordinator, disk):
    """Its first call is refused with a name; the same call again makes it durable."""
    body = {"name": "late", "endpoint": "http://127.0.0.1:9", "capabilities": ["late"]}
    disk.fill()
    refused = await client.post("/register_agent", json=body)
    disk.free()
    taken = await client.post("/register_agent", json=body)
    coordinator.kill()
    coordinator.start()
    await asyncio.to_thread(coordinator.ready)

    assert (refused.status_code, refused.json()["type"]) == (503, "urn:muster:problem:storage_full")
    assert taken.status_code == 200
    assert (await client.get("/agents/late")).status_code == 200


async def test_sigterm_on_a_full_disk_loses_nothing(client, coordinator, disk):
    """SIGTERM on a full disk ends within ten seconds and what could not be written is done again."""
    ids = [await begin(client, delay_ms=300) for _ in range(10)]
    disk.fill()
    await asyncio.sleep(1.0)
    began = time.monotonic()
    coordinator.terminate()
    code = await asyncio.to_thread(coordinator.process.wait, 30)
    seconds = time.monotonic() - began
    disk.free()

    coordinator.start()
    await asyncio.to_thread(coordinator.ready)

    assert code is not None
    assert seconds < 20
    for id in ids:
        await eventually(lambda id=id: _ended(client, id))
        assert await status(client, id) == "completed"
    assert (await history(coordinator, disk)).problems(accepted=ids) == []


def test_start_on_a_full_disk_is_refused_clearly(disk, tmp_path):
    """A start on a full disk is refused in a sentence."""
    disk.fill()
    with Coordinator(tmp_path / "c", journal=disk.path / "muster.db", through=disk.through) as coordinator:
        coordinator.start()

        assert coordinator.process.wait(20) == 2
        assert coordinator.process.err.splitlines() == [
            f"The journal {disk.path}/muster.db cannot be opened: the disk is full. Free some space."
        ]
        assert "Traceback" not in coordinator.process.out


def test_refused_start_leaves_nothing_behind(coordinator, disk):
    """The journal is there already; it opens again once there is room."""
    coordinator.kill()
    disk.fill()
    coordinator.start()
    ended = coordinator.process.wait(3)
    if ended is not None:
        assert (ended, coordinator.process.err.count("\n")) == (2, 1)
    disk.free()
    coordinator.kill()

    coordinator.start().ready()
