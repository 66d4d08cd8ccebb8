"""Canaries between a coordinator and its workers: what is sent, who is taken out, and who sees it."""

from __future__ import annotations

import asyncio
import json
import time
from random import Random
from typing import Any

import httpx
import pytest

from coordinator.agent_calls.client import WorkerClient
from coordinator.agent_pool import canaries
from coordinator.agent_pool.canaries import Canaries
from coordinator.agents import canary
from coordinator.observers.meter import Meter
from shared.agent import Context
from shared.background import Background
from shared.contracts import CANARY, StepRequest
from shared.server.metrics import ServiceMetrics
from tests.support.fakes import Held, Network, Suite, agent, eventually

Steps = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A canary is due twenty times as soon; it has the time it has, for a machine that is busy."""
    monkeypatch.setattr(canary, "QUIET_SECONDS", 0.5)
    monkeypatch.setattr(canary, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(canaries, "LOOK_SECONDS", 0.05)


def sent(network: Network, host: str) -> Steps:
    """The canaries that a host got."""
    bodies = [json.loads(r.content) for r in network.calls(host) if r.method == "POST"]
    return [body for body in bodies if body["capability"] == CANARY]


async def hangs(request: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


def answers(status: int, body: str = "") -> Any:
    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text=body)

    return answer


async def test_idle_worker_answers_canaries_without_working(coordinator: Suite) -> None:
    """Each is another step, none is a task, and none is kept in place of a result."""
    held = Held()
    await coordinator.add(agent("worker", "work", held))
    await eventually(lambda: len(sent(coordinator.network, "worker")) >= 3)
    await eventually(lambda: coordinator.services.agents.registry.list_all()[0].last_canary)
    view = (await coordinator.agents())["worker"]
    tasks = (await coordinator.client.get("/tasks")).json()["tasks"]
    stats = (await coordinator.client.get("/stats")).json()

    assert (view.status, view.canary_error, held.began, tasks) == ("healthy", None, [], [])
    assert view.last_canary is not None
    assert stats["agents"].get("worker", {}).get("steps", 0) == 0
    assert len({body["task_id"] for body in sent(coordinator.network, "worker")}) >= 3
    metrics = (await coordinator.client.get("/metrics")).text
    assert 'muster_canaries_total{agent="worker",outcome="unanswered"} 0.0' in metrics
    assert 'muster_canaries_total{agent="worker",outcome="answered"} 0.0' not in metrics


async def test_deaf_worker_is_out_until_it_hears(coordinator: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its /health is green all the time; no step waits for it while there is another."""
    monkeypatch.setattr(canaries, "ANSWER_SECONDS", 1.0)
    for host in ("deaf", "well"):
        await coordinator.add(agent("worker", "work"), host=host)
    coordinator.network.answer("deaf", hangs)
    view = await coordinator.sees("deaf", "unreachable")
    steps = [(await coordinator.execute(agents=["worker"])).results[0] for _ in range(5)]
    coordinator.network.plug("deaf")
    back = await coordinator.sees("deaf", "healthy")

    assert view.last_error == "It left 2 canaries in a row unanswered: no answer within 1 s."
    assert view.canary_error == "no answer within 1 s."
    assert {(s.status, s.attempt) for s in steps} == {("completed", 1)}
    assert (back.last_error, back.canary_error) == (None, None)


async def test_step_of_the_only_worker_waits_until_it_hears(
    coordinator: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for one that is away: a step sent to it would hang until its deadline."""
    monkeypatch.setattr(canaries, "ANSWER_SECONDS", 1.0)
    await coordinator.add(agent("worker", "work"))
    coordinator.network.answer("worker", hangs)
    await coordinator.sees("worker", "unreachable")
    lost = (await coordinator.execute(agents=["worker"], timeout_seconds=1)).results[0]
    task_id = await coordinator.begin(agents=["worker"], timeout_seconds=60)
    coordinator.network.plug("worker")

    assert lost.error is not None
    assert (lost.error.type, "canaries in a row" in lost.error.detail) == ("no_agent", True)
    assert (await coordinator.ended(task_id)).status == "completed"


@pytest.mark.parametrize("status", [429, 503, 404])
async def test_busy_worker_has_answered(coordinator: Suite, status: int) -> None:
    """So has one that refuses canaries."""
    await coordinator.add(agent("worker", "work"))
    coordinator.network.answer("worker", answers(status))
    before = len(sent(coordinator.network, "worker"))
    await eventually(lambda: len(sent(coordinator.network, "worker")) > before + 3)
    view = (await coordinator.agents())["worker"]

    assert (view.status, view.canary_error) == ("healthy", None)


async def test_full_worker_is_busy_and_canaries_take_no_place(coordinator: Suite) -> None:
    """A canary at a full worker is answered with 429; one at work refuses no step."""
    held, waiting = Held(), asyncio.Event()

    async def slow_canary(step: StepRequest, ctx: Context) -> None:
        waiting.set()
        await held.let_go.wait()

    await coordinator.add(agent("worker", "work", held, max_concurrency=1, canary=slow_canary))
    await asyncio.wait_for(waiting.wait(), 20)
    task_id = await coordinator.begin(agents=["worker"])
    await eventually(lambda: held.began)
    before = len(sent(coordinator.network, "worker"))
    await eventually(lambda: len(sent(coordinator.network, "worker")) > before + 1)
    view = (await coordinator.agents())["worker"]
    held.let_go.set()

    assert (view.status, view.canary_error) == ("healthy", None)
    assert (await coordinator.ended(task_id)).results[0].attempt == 1


async def test_author_decides_what_a_canary_does(coordinator: Suite) -> None:
    """Two that it fails take the worker out, as two without an answer."""
    broken = True
    seen: list[StepRequest] = []

    async def looks(step: StepRequest, ctx: Context) -> None:
        seen.append(step)
        if broken:
            raise RuntimeError("the pool is used up")

    await coordinator.add(agent("worker", "work", canary=looks))
    view = await coordinator.sees("worker", "unreachable")
    broken = False
    await coordinator.sees("worker", "healthy")

    assert "RuntimeError: the pool is used up" in str(view.last_error)
    assert {(s.capability, s.step_id) for s in seen} == {(CANARY, CANARY)}


async def test_agents_that_do_not_take_canaries_get_none(coordinator: Suite) -> None:
    """Those of an older version, registered by hand or of other protocols."""
    for name, more in (
        ("older", {}),
        ("declines", {"canary": False}),
        ("null", {"canary": None}),
        ("model", {"canary": True, "protocol": "openai"}),
        ("a2a", {"canary": True, "protocol": "a2a"}),
        ("takes", {"canary": True}),
    ):
        coordinator.network.answer(name, answers(429))
        await coordinator.register(name, f"http://{name}", "work", **more)
        await coordinator.sees(name, "healthy")
    await eventually(lambda: len(sent(coordinator.network, "takes")) >= 3)

    assert {r.url.host for r in coordinator.network.sent if r.url.path.startswith("/execute")} == {"takes"}


async def test_breaker_of_an_agent_that_is_well_closes_soon(coordinator: Suite) -> None:
    """No step is spent during an outage of 500s, and the first after it is the trial."""
    await coordinator.add(agent("worker", "work"))
    coordinator.network.answer("worker", answers(500))
    while (await coordinator.agents())["worker"].breaker == "closed":
        await coordinator.execute(agents=["worker"], timeout_seconds=10)
    [instance] = coordinator.services.agents.registry.list_all()
    calls = len(coordinator.network.calls("worker")) - len(sent(coordinator.network, "worker"))
    lost = [await coordinator.execute(agents=["worker"], timeout_seconds=1) for _ in range(3)]
    tried = len(coordinator.network.calls("worker")) - len(sent(coordinator.network, "worker"))
    task_id = await coordinator.begin(agents=["worker"], timeout_seconds=60)
    coordinator.network.plug("worker")
    step = (await coordinator.ended(task_id)).results[0]

    assert {t.results[0].error.type for t in lost} == {"no_agent"}
    assert tried == calls
    assert (step.status, step.attempt) == ("completed", 1)
    assert instance.failures == 0


async def test_wanted_canary_is_sent_at_once(coordinator: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "QUIET_SECONDS", 3_600)
    await coordinator.add(agent("worker", "work"))
    await coordinator.register("older", "http://older", "work")
    older, worker = coordinator.services.agents.registry.list_all()
    agents, http = coordinator.services.agents, coordinator.services.http
    background = Background(lambda name: None)
    client = WorkerClient(http, key_of=lambda _: b"")
    meter, now = Meter(ServiceMetrics()), time.monotonic
    asks = Canaries(agents, client, background, meter=meter, now=now, random=Random()).ask_soon

    assert (asks(worker), asks(older)) == (True, False)
    await eventually(lambda: worker.last_canary)
    assert len(sent(coordinator.network, "worker")) == 1


async def test_at_most_twenty_a_second_urgent_ones_first(coordinator: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "QUIET_SECONDS", 3_600)
    monkeypatch.setattr(canaries, "PACE_SECONDS", 0.05)
    at: list[tuple[float, str]] = []

    async def notes(request: httpx.Request) -> httpx.Response:
        at.append((asyncio.get_running_loop().time(), request.url.host))
        return httpx.Response(429)

    for n in range(30):
        coordinator.network.answer(f"a{n}", notes)
        await coordinator.register(f"a{n}", f"http://a{n}", "work", canary=True)
    for n in range(30):
        await coordinator.sees(f"a{n}", "healthy")
    monkeypatch.setattr(canary, "QUIET_SECONDS", 0.0)
    [urgent] = [i for i in coordinator.services.agents.registry.list_all() if i.name == "a9"]
    urgent.canary_wanted = True
    await eventually(lambda: len(at) >= 30)

    assert at[0][1] == "a9"
    assert at[29][0] - at[0][0] >= 29 * 0.05 * 0.9
