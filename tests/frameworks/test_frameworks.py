"""The workers of docs/frameworks as processes: real frameworks and a real coordinator, a scripted model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fake_model import FakeModel, Hangs, Refuses, Says, fake_model
from tests.support.fakes import ROOT, eventually
from tests.support.processes import Coordinator, Running, start

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.in"))
QUESTION = "What does a lamp cost?"
ANSWER = "A lamp costs 12 euros."
LOOKS_UP = Says(calls=[{"name": "price", "arguments": {"product": "lamp"}}])
STEP = {"id": "ask", "capability": "shop", "input": QUESTION}


@dataclass(frozen=True)
class Shop:
    """A coordinator that has one agent, and the model of that agent."""

    client: httpx.AsyncClient
    model: FakeModel
    worker: Running

    async def send(self, **task: Any) -> httpx.Response:
        body = {"task_description": "The shop is asked", "plan": [STEP]} | task
        return await self.client.post("/execute_task", json=body)

    async def is_idle(self) -> bool:
        return (await self.client.get("/agents/shop/health")).json()["running_steps"] == 0


@pytest.fixture(params=NAMES)
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    python = ROOT / "build" / "frameworks" / request.param / "bin" / "python"
    assert python.exists(), "`make frameworks` installs them."
    file = ROOT / "docs" / "frameworks" / f"with_{request.param}.py"
    async with fake_model(LOOKS_UP, ANSWER) as model:
        with Coordinator(tmp_path / "coordinator") as coordinator:
            coordinator.start().ready()
            env = {"COORDINATOR_URL": coordinator.url, "MODEL_API_URL": f"{model.url}/v1", "MODEL_NAME": "fake"}
            with start(str(file), folder=tmp_path / "worker", env=env, python=str(python)) as worker:
                async with httpx.AsyncClient(base_url=coordinator.url, timeout=60) as client:

                    async def joined() -> bool:
                        assert worker.alive, worker.output
                        agents = (await client.get("/agents", params={"status": "healthy"})).json()["agents"]
                        return [agent["name"] for agent in agents] == ["shop"]

                    await eventually(joined, seconds=50, why=lambda: worker.output)
                    yield Shop(client, model, worker)


async def test_a_framework_answers_with_its_tool(shop: Shop) -> None:
    """What the tool said reaches the model; tokens and calls reach the task."""
    task = (await shop.send()).json()

    assert task["status"] == "completed", task
    (step,) = task["results"]
    assert step["output"] == {"answer": ANSWER}
    assert step["usage"] == {"calls": 3, "input_tokens": 14, "output_tokens": 10}  # the step, and two of the model
    assert QUESTION in shop.model.prompt(0)
    assert "12 euros" in shop.model.prompt(1)
    finished = (await shop.client.get(task["links"]["events"])).text.partition("event: step.finished\ndata: ")[2]
    calls = [(call["kind"], call["name"], call["tokens"]) for call in json.loads(finished.splitlines()[0])["calls"]]
    assert calls == [("model", "fake", 12), ("tool", "price", 0), ("model", "fake", 12)]


async def test_a_plan_hands_the_framework_what_was_found(shop: Shop) -> None:
    """The outputs of the steps that it needs are in the question."""
    plan = [{"id": "first", "capability": "shop", "input": QUESTION}, {"id": "then", "capability": "shop"}]
    task = (await shop.send(plan=[plan[0], plan[1] | {"needs": ["first"]}])).json()

    assert task["status"] == "completed", task
    assert ANSWER in shop.model.prompt(2)


async def test_a_cancelled_task_stops_the_framework(shop: Shop) -> None:
    """Its call of the model is closed."""
    shop.model.script[:] = [LOOKS_UP, Hangs()]
    task = (
        await shop.client.post(
            "/execute_task",
            json={"task_description": "The shop is asked", "plan": [STEP]},
            headers={"Prefer": "respond-async"},
        )
    ).json()
    await eventually(lambda: len(shop.model.asked) == 2, seconds=40, why=lambda: shop.worker.output)

    await shop.client.post(task["links"]["cancel"])

    await eventually(lambda: shop.model.left == 1, seconds=40, why=lambda: shop.worker.output)
    await eventually(shop.is_idle, seconds=40)
    assert len(shop.model.asked) == 2

    async def is_cancelled() -> bool:
        return (await shop.client.get(task["links"]["self"])).json()["status"] == "cancelled"

    await eventually(is_cancelled, seconds=40)


async def test_a_late_framework_hands_on_what_it_has(shop: Shop) -> None:
    """The task is answered by its deadline, with what was spent; its watchers know of the tool's call."""
    shop.model.script[:] = [LOOKS_UP, Hangs()]

    task = (await shop.send(timeout_seconds=8)).json()

    assert task["status"] == "completed", task
    (step,) = task["results"]
    assert step["output"]["answer"] is None
    assert step["usage"] == {"calls": 2, "input_tokens": 7, "output_tokens": 5}
    assert [missing["why"] for missing in task["missing"]] == ["The model took too long."]
    await eventually(lambda: shop.model.left == 1, seconds=40, why=lambda: shop.worker.output)
    assert await shop.is_idle()
    said = (await shop.client.get(task["links"]["events"])).text.partition("calls price")[2]
    assert "lamp" in said.splitlines()[0]


async def test_a_model_that_refuses_fails_the_step(shop: Shop) -> None:
    """The step says why, and the worker goes on."""
    shop.model.script[:] = [Refuses(401, "Wrong key."), LOOKS_UP, ANSWER]

    failed = (await shop.send()).json()["task"]
    again = (await shop.send()).json()

    assert failed["status"] == "failed", failed
    assert "Wrong key" in failed["results"][0]["error"]["detail"]
    assert again["status"] == "completed", again
