"""The wall clock jumps while the coordinator is down: what waits goes on by the boot's clock, where it is the same."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response

from coordinator.journal.clocks import Boot
from coordinator.journal.statements import Statement
from shared.contracts import TaskView
from tests.support.fakes import Held, Network, Suite, agent, eventually
from tests.support.processes import Agents, Service

HOUR = 3_600.0
DAY = 86_400.0
PLAN = [{"id": "a", "capability": "work"}]
both_ways = pytest.mark.parametrize("jump", [HOUR, -HOUR])


@dataclass
class Machine:
    """A machine whose clocks a test sets: the wall clock, and the one since its boot."""

    boot: str | None = "b1"
    wall: float = 1_700_000_000.0
    since_boot: float = 1_000.0

    def off(self, seconds: float) -> None:
        """Time goes by, on both."""
        self.wall += seconds
        self.since_boot += seconds

    def restart(self) -> None:
        self.boot, self.since_boot = "b2", 10.0

    @property
    def clocks(self) -> dict[str, Any]:
        """Taken when a coordinator starts; from then on they run."""
        began, wall, since_boot = time.monotonic(), self.wall, self.since_boot
        boot = Boot(self.boot, lambda: since_boot + time.monotonic() - began) if self.boot else None
        return {"wall": lambda: wall + time.monotonic() - began + (self.wall - wall), "boot": lambda: boot}


@pytest.fixture
def machine() -> Machine:
    return Machine()


@dataclass
class Case:
    """A task that hangs in a step while its coordinator goes down."""

    network: Network
    machine: Machine
    settings: dict[str, Any]
    held: Held
    task_id: str = ""

    async def begin(self, **asked: Any) -> None:
        async with self.coordinator() as suite:
            await suite.add(agent("worker", "work", self.held))
            self.task_id = await suite.begin(plan=PLAN, **asked)
            await eventually(lambda: self.held.began)

    def coordinator(self) -> Suite:
        return Suite(self.network, app=self.machine.clocks, **self.settings)

    @asynccontextmanager
    async def again(self) -> AsyncIterator[Suite]:
        """The coordinator and its worker, started again."""
        async with self.coordinator() as suite:
            await suite.start(agent("worker", "work", self.held))
            yield suite

    async def finish(self) -> TaskView:
        """Starts them again, lets the step go, and waits for the end."""
        self.held.let_go.set()
        async with self.again() as suite:
            return await suite.ended(self.task_id)


@pytest.fixture
def case(network: Network, machine: Machine, tmp_path: Path) -> Case:
    return Case(network, machine, {"database_url": f"sqlite:///{tmp_path}/muster.db"}, Held())


def lines(printed: str, event: str) -> list[dict[str, Any]]:
    """The log lines of an event."""
    found = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return [line for line in found if line.get("event") == event]


@both_ways
async def test_task_keeps_the_time_it_had(case: Case, machine: Machine, jump: float) -> None:
    """A jump of an hour takes nothing from a minute, nor adds to it, and is in no duration."""
    await case.begin(timeout_seconds=60)
    machine.off(20)

    machine.wall += jump
    async with case.again() as suite:
        live = suite.services.dispatcher.get_live(case.task_id)
        assert live is not None
        left = live.until - time.monotonic()
        case.held.let_go.set()
        task = await suite.ended(case.task_id)

    assert task.status == "completed"
    assert 30 < left < 55  # 40 and what the coordinator ran before
    assert 15 < (task.duration_seconds or 0) < 55


@both_ways
async def test_outage_counts_whatever_the_wall_says(case: Case, machine: Machine, jump: float) -> None:
    """Two minutes down end a task of one, also where the wall clock went back meanwhile."""
    await case.begin(timeout_seconds=60)
    machine.off(120)

    machine.wall += jump
    task = await case.finish()

    assert task.status == "timed_out"


async def test_second_restart_counts_from_the_first(case: Case, machine: Machine) -> None:
    """What the deadline is does not depend on how often the coordinator starts."""
    await case.begin(timeout_seconds=60)
    for jump in (HOUR, -2 * HOUR):
        machine.wall += jump
        async with case.again():
            machine.off(20)

    task = await case.finish()

    assert task.status == "completed"
    assert 35 < (task.duration_seconds or 0) < 60


@pytest.mark.parametrize(("down", "status"), [(20, "completed"), (120, "timed_out")])
async def test_other_boot_goes_by_the_wall_clock(
    case: Case, machine: Machine, capsys: pytest.CaptureFixture[str], down: float, status: str
) -> None:
    """And the log says so."""
    await case.begin(timeout_seconds=60)
    machine.off(down)

    machine.restart()
    task = await case.finish()

    assert task.status == status
    assert "tasks.timed_by_wall_clock" in capsys.readouterr().out


async def test_jump_after_another_boot_changes_nothing(case: Case, machine: Machine) -> None:
    """The first start in a boot sets the deadline; a machine without a battery gets its time from the network then."""
    await case.begin(timeout_seconds=60)
    machine.restart()
    async with case.again():
        machine.off(20)

    machine.wall += HOUR
    task = await case.finish()

    assert task.status == "completed"


async def test_system_without_a_boot_id(case: Case, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.boot = None
    await case.begin(timeout_seconds=60)
    machine.off(20)

    task = await case.finish()

    assert task.status == "completed"
    assert "This system has no boot id." in capsys.readouterr().out


async def test_task_of_the_version_before(case: Case, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Its event says nothing of a boot: the wall clock counts, and the log says so."""
    await case.begin(timeout_seconds=60)
    async with case.coordinator() as suite:
        text = "UPDATE events SET data = json_remove(data, '$.boot'), seal = NULL WHERE type = 'task.accepted'"
        suite.services.store.post("test", Statement(text))
        await suite.services.store.attempts_written()

    machine.off(20)
    task = await case.finish()

    assert task.status == "completed"
    assert "by an earlier version" in capsys.readouterr().out


@both_ways
async def test_webhook_is_sent_soon_after_the_restart(
    case: Case, network: Network, machine: Machine, jump: float
) -> None:
    """It had failed once before, and is not due an hour later."""
    got: list[Request] = []

    async def take(request: Request) -> Response:
        got.append(request)
        return Response(status_code=500 if len(got) == 1 else 204)

    receiver = FastAPI()
    receiver.add_api_route("/done", take, methods=["POST"])
    network.host("hooks", receiver)
    case.held.let_go.set()
    await case.begin(timeout_seconds=60, webhook_url="http://hooks/done")
    async with case.again() as suite:
        await suite.ended(case.task_id)
        await eventually(lambda: got)

    machine.wall += jump
    async with case.again():
        await eventually(lambda: len(got) == 2)


async def test_jump_deletes_no_history(case: Case, machine: Machine) -> None:
    """A year ahead by mistake: all is there until the clock has been so for a day."""
    case.held.let_go.set()
    await case.begin(timeout_seconds=60)
    async with case.again() as suite:
        await suite.ended(case.task_id)

    async def shown(suite: Suite) -> int:
        return (await suite.client.get(f"/tasks/{case.task_id}")).status_code

    machine.wall += 365 * DAY
    async with case.coordinator() as suite:
        await eventually(lambda: suite.services.store.read("SELECT 1 FROM meta WHERE key = 'clock'"))
        before = await shown(suite)
    machine.off(1.5 * DAY)
    async with case.coordinator() as suite:

        async def gone() -> bool:
            return await shown(suite) == 404

        assert before == 200
        assert await eventually(gone)


@both_ways
def test_real_process_starts_with_a_moved_clock(tmp_path: Path, jump: float) -> None:
    """`kill -9`, then a start an hour off: the task that was at work is completed."""
    folder = tmp_path / "coordinator"
    env = {"DATABASE_URL": f"sqlite:///{folder}/muster.db", "LOG_FORMAT": "json"}
    folder.mkdir()
    (folder / "moved").write_text("0")
    with Service("tests.support.moved_clock", folder, env=env) as coordinator:
        coordinator.start().ready()
        with Agents(tmp_path / "agents", coordinator.url) as agents:
            agents.register()
            asyncio.run(_kill_and_restart(coordinator, agents, jump))


async def _kill_and_restart(coordinator: Service, agents: Agents, jump: float) -> None:
    import httpx

    plan = [
        {"id": "a", "capability": "worker", "input": {"delay_ms": 500}},
        {"id": "b", "capability": "plain", "needs": ["a"]},
    ]
    body = {"task_description": "x", "plan": plan, "timeout_seconds": 120}
    async with httpx.AsyncClient(base_url=coordinator.url, timeout=10) as client:
        task_id = (await client.post("/execute_task", json=body, headers={"Prefer": "respond-async"})).json()["task_id"]
        await eventually(agents.executions)
        coordinator.kill()
        (coordinator.folder / "moved").write_text(str(jump))
        coordinator.start().ready()

        async def ended() -> Any:
            task = (await client.get(f"/tasks/{task_id}")).json()
            return task if task["status"] not in ("queued", "running") else None

        task = await eventually(ended, seconds=60)
    assert task["status"] == "completed"
    assert 0 < task["duration_seconds"] < 100
    [said] = lines(coordinator.process.output, "clock.jumped")
    assert abs(said["seconds"] - jump) < 5
    assert not lines(coordinator.process.output, "tasks.timed_by_wall_clock")
