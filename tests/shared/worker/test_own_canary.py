"""A worker's own canary: when it asks, and that the worker ends once it is deaf, and not before."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from coordinator.agents import canary
from shared.agent import Context
from shared.contracts import StepRequest
from shared.server.app import App
from shared.worker import own_canary
from shared.worker.app import create_worker_app
from shared.worker.execution import Opened
from tests.support.fakes import Held, Suite, agent, eventually, worker_settings


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_canary, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(own_canary, "AGAIN_SECONDS", 0.1)


class Canary:
    """What an author's canary does; it counts."""

    def __init__(self, fails: bool = False, hangs: bool = False) -> None:
        self.fails, self.hangs, self.asked = fails, hangs, 0

    async def __call__(self, step: StepRequest, ctx: Context) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise RuntimeError("broken")


def alone(canary: Canary, run: Any = None, **settings: Any) -> App[Opened]:
    return create_worker_app(agent("worker", "work", run, canary=canary), settings=worker_settings(**settings))


async def enough(canary: Canary, times: int = 4) -> None:
    await eventually(lambda: canary.asked >= times)


async def test_well_worker_asks_itself_and_goes_on() -> None:
    canary = Canary()
    app = alone(canary)
    async with app.router.lifespan_context(app):
        await enough(canary)

        assert (app.failed, bool(app.stopping)) == (False, False)


@pytest.mark.parametrize("canary", [Canary(fails=True), Canary(hangs=True)], ids=["fails", "hangs"])
async def test_deaf_worker_ends_after_two(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_canary, "ANSWER_SECONDS", 0.4)
    app = alone(canary)
    async with app.router.lifespan_context(app):
        await eventually(lambda: app.failed)

        assert (canary.asked, bool(app.stopping)) == (2, True)


async def test_deaf_worker_with_a_step_at_work_goes_on() -> None:
    """The step may be what is in the way."""
    canary, held = Canary(fails=True), Held()
    app = alone(canary, held)
    async with app.router.lifespan_context(app):
        step = asyncio.create_task(_work(app))
        await eventually(lambda: held.began)
        await enough(canary, 6)
        assert not app.failed
        held.let_go.set()
        await step
        await eventually(lambda: app.failed)


async def test_watchdog_of_zero_seconds_ends_nothing() -> None:
    canary = Canary(fails=True)
    app = alone(canary, watchdog_seconds=0)
    async with app.router.lifespan_context(app):
        await asyncio.sleep(0.5)

    assert (canary.asked, app.failed) == (0, False)


async def test_registered_worker_signs_its_own_canary(coordinator: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator sends none here."""
    monkeypatch.setattr(canary, "QUIET_SECONDS", 3_600.0)
    asked = Canary()
    app = await coordinator.add(agent("worker", "work", canary=asked))
    await enough(asked)

    assert not app.failed
    assert not coordinator.network.calls("worker")


async def _work(app: App[Opened]) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://worker", timeout=None) as client:
        body = {"task_id": "t", "step_id": "s", "attempt": 1}
        assert (await client.post("/execute", json=body)).json()["status"] == "completed"
