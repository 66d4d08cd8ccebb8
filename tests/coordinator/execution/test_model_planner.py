"""A model plans tasks: its plan is checked and made durable, and where anything is wrong, the default one is used."""

from __future__ import annotations

import asyncio
import io
import json
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from coordinator.app import create_app
from coordinator.cli.ask import ask
from shared.agent import Context, Reply
from shared.contracts import StepRequest
from shared.errors import MusterError
from shared.settings import ModelSettings
from tests.support import fakes
from tests.support.fake_model import Entry, FakeModel, Hangs, Refuses, Rubbish, Says, fake_model
from tests.support.fakes import Network, Suite, agent, coordinator_settings, eventually, serving
from tests.support.history import History
from tests.support.processes import Agents, Coordinator

AGENTS = (fakes.RESEARCHER, fakes.ANALYZER, fakes.REPORTER)
PLAN: list[dict[str, Any]] = [
    {"id": "moon", "capability": "research", "question": "What does the moon do?"},
    {"id": "sun", "capability": "research", "question": "What does the sun do?"},
    {"id": "weigh", "capability": "analyze", "needs": ["moon", "sun"]},
    {"id": "write", "capability": "report", "needs": ["weigh"], "question": "Write it up."},
]
DEFAULT = ["plan", "research", "analyze", "report"]


def steps(*more: dict[str, Any], plan: list[dict[str, Any]] = PLAN) -> str:
    return json.dumps({"steps": [*plan, *more]})


def planning(model: FakeModel, *agents: Any, **settings: Any) -> Suite:
    """A suite whose coordinator plans with this model."""
    thinks = ModelSettings(_env_file=None, model_api_url=model.url, model_name="fake")
    return Suite(Network(), *(agents or AGENTS), app={"model": thinks}, planner="model", **settings)


async def planned_by(*script: Entry, **task: Any) -> tuple[Any, list[str], FakeModel]:
    """A task, the types of its events, and the model that was asked."""
    async with fake_model(*script) as model, planning(model) as suite:
        done = await suite.execute(**{"timeout_seconds": 10} | task)
        told = (await suite.client.get(f"/tasks/{done.task_id}/events", headers={"Last-Event-ID": "0"})).text
    return done, [line.partition(": ")[2] for line in told.splitlines() if line.startswith("event:")], model


async def test_models_plan_replaces_the_default() -> None:
    """a model's plan takes the place of the default one."""
    task, events, model = await planned_by(steps())

    assert task.status == "completed"
    assert [(s.step_id, s.agent) for s in task.results] == [
        ("plan", "coordinator"),
        ("moon", "researcher"),
        ("sun", "researcher"),
        ("weigh", "analyzer"),
        ("write", "reporter"),
    ]
    assert fakes.MOON in str(task.result.report)
    assert (task.missing, task.result.format) == ([], "markdown")
    assert events[:4] == ["task.accepted", "task.planned", "step.started", "step.finished"]
    assert events[4] == "task.replanned"
    assert (task.results[0].usage.calls, task.usage.calls, task.usage.input_tokens) == (1, 5, 7)
    prompt = model.prompt()
    assert "- research: Does research." in prompt
    assert "Why are there tides?" in prompt


async def test_need_may_name_the_capability_of_one_step() -> None:
    """A 0.5B writes `needs: ["research"]` where the step is called otherwise."""
    plan = [PLAN[0], PLAN[2] | {"needs": ["research"]}, PLAN[3] | {"needs": ["analyze"]}]

    task, _, _ = await planned_by(steps(plan=plan))

    assert [s.step_id for s in task.results] == ["plan", "moon", "weigh", "write"]
    assert task.missing == []


async def test_who_watches_sees_the_steps_of_the_new_plan() -> None:
    shown = io.StringIO()
    async with fake_model(steps()) as model, planning(model) as suite, serving(suite.app, lifespan=False) as url:
        with httpx.Client(base_url=url) as client:
            console = Console(file=shown, force_terminal=True, width=100)
            await asyncio.to_thread(ask, client, {"task_description": "Why are there tides?"}, console)

    last = shown.getvalue()[shown.getvalue().rindex("plan ") :]  # the progress as it was drawn for the last time
    assert all(f"{name} " in last for name in ("plan", "moon", "sun", "weigh", "write"))
    assert "analyze " not in last


async def test_the_steps_of_a_models_plan_get_its_questions() -> None:
    seen: dict[str, Any] = {}

    async def notes(step: StepRequest, ctx: Context) -> Reply:
        seen[step.step_id] = step.input
        return await fakes.researches(step, ctx)

    researcher = agent("researcher", "research", notes)
    async with fake_model(steps()) as model, planning(model, researcher, *AGENTS[1:]) as suite:
        await suite.execute()

    assert seen == {"moon": {"question": "What does the moon do?"}, "sun": {"question": "What does the sun do?"}}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (steps({"id": "x", "capability": "wire_money"}), "no agent offers 'wire_money'"),
        (steps({"id": "x", "capability": "research", "needs": ["y"]}), "there is no step 'y'"),
        (steps({"id": "moon", "capability": "research"}), "duplicate id 'moon'"),
        (steps({"id": "plan", "capability": "research"}), "'plan' is taken"),
        (steps({"id": "x", "capability": "research", "needs": ["x"]}), "dependency cycle: x > x"),
        (steps({"id": "no name!", "capability": "research"}), "should match pattern"),
        (steps(*({"id": f"s{n}", "capability": "research"} for n in range(20))), "not answer in the requested format"),
        (steps(plan=[]), "not answer in the requested format"),
        ("Let me think.", "not answer in the requested format"),
        (Rubbish(), "failed"),
        (Refuses(429, "busy", {"Retry-After": "86400"}), "busy"),
        (Says("", calls=[{"name": "wire_money", "arguments": {}}]), "said nothing"),
        (Says(steps()[:-40], finish="length"), "token limit before its answer was complete"),
    ],
)
async def test_impossible_plan_gives_way_to_the_default(entry: Entry, why: str) -> None:
    """A plan that cannot run gives way to the default one."""
    task, events, _ = await planned_by(entry)

    assert task.status == "completed"
    assert [s.step_id for s in task.results] == DEFAULT
    assert [m.what for m in task.missing] == ["model"]
    assert why in task.missing[0].why
    assert "task.replanned" not in events
    assert fakes.MOON in str(task.result.report)


async def test_hanging_model_takes_a_fifth_of_the_time() -> None:
    """A model that hangs takes a fifth of the time."""
    task, _, _ = await planned_by(Hangs(), timeout_seconds=3)

    assert (task.status, [s.step_id for s in task.results]) == ("completed", DEFAULT)
    assert task.missing[0].why == "No plan was made. Model 'fake' did not answer within 0.6 s."


@pytest.mark.parametrize(
    "task",
    [
        {"plan": [{"id": "a", "capability": "research", "input": {"question": "?"}}]},
        {"agents": ["researcher"]},
        {"context": {"documents": ["a.md"]}},
    ],
)
async def test_a_callers_own_plan_is_not_planned_again(task: dict[str, Any]) -> None:
    done, _, model = await planned_by(steps(), **task)

    assert model.asked == []
    assert "plan" not in [s.step_id for s in done.results]


@pytest.mark.parametrize(
    ("limits", "asked"),
    [({"max_calls": 3}, 0), ({"max_calls": 4}, 1), ({"max_tokens": 300}, 0), ({"max_tokens": 20_000}, 1)],
)
async def test_planning_leaves_the_steps_what_they_need(limits: dict[str, int], asked: int) -> None:
    task, _, model = await planned_by(steps(plan=[PLAN[0], PLAN[3] | {"needs": ["moon"]}]), **limits)

    assert (task.status, len(model.asked)) == ("completed", asked)
    assert task.usage.calls <= limits.get("max_calls", 99)


async def test_without_agents_nobody_is_asked() -> None:
    async with fake_model(steps()) as model, planning(model, agent("echo", "echo")) as suite:
        await suite.remove("echo")
        task = await suite.execute(timeout_seconds=2)

    assert model.asked == []
    assert "No agents are available to plan with." in task.missing[-1].why


async def test_task_canceled_while_planning_ends() -> None:
    """A task that is cancelled while it is planned ends."""
    async with fake_model(Hangs()) as model, planning(model) as suite:
        task_id = await suite.begin(timeout_seconds=60)
        await eventually(lambda: model.asked)
        await suite.client.post(f"/tasks/{task_id}/cancel")
        task = await suite.ended(task_id)
        await eventually(lambda: model.left)

    assert task.status == "cancelled"


async def test_restart_while_planning_uses_the_default_plan(tmp_path: Path) -> None:
    """It was durable before the model was asked; which agents will be back, nobody knows then."""
    journal = f"sqlite:///{tmp_path}/muster.db"
    async with fake_model(Hangs(), steps()) as model:
        async with planning(model, database_url=journal) as suite:
            task_id = await suite.begin(timeout_seconds=60)
            await eventually(lambda: model.asked)
        async with planning(model, database_url=journal) as suite:
            task = await suite.ended(task_id)

    assert (task.status, [s.step_id for s in task.results]) == ("completed", DEFAULT)
    assert task.missing[0].why == "No plan was made. The coordinator restarted."
    assert len(model.asked) == 1


async def test_models_plan_outlives_a_restart(tmp_path: Path) -> None:
    """a model's plan outlives a restart and is not made twice."""
    journal = f"sqlite:///{tmp_path}/muster.db"
    async with fake_model(steps(), Refuses(500)) as model:
        async with planning(model, database_url=journal) as suite:
            suite.network.delay("analyzer", 60)
            task_id = await suite.begin(timeout_seconds=60)
            await eventually(lambda: suite.network.calls("analyzer"))
        async with planning(model, database_url=journal) as suite:
            task = await suite.ended(task_id)

    assert len(model.asked) == 1
    assert (task.status, [s.step_id for s in task.results]) == ("completed", ["plan", "moon", "sun", "weigh", "write"])
    assert task.usage.input_tokens == 7


async def test_a_planner_without_a_model_does_not_start() -> None:
    app = create_app(coordinator_settings(planner="model"), model=ModelSettings(_env_file=None))

    with pytest.raises(MusterError, match="PLANNER=model needs a model"):
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0)


@pytest.mark.parametrize("moment", ["queued", "written", "committed"])
async def test_kill_while_writing_leaves_one_plan(tmp_path: Path, moment: str) -> None:
    """Real processes and `kill -9`: the task is there, its steps are those of its plan, and it ends once."""
    said = Says(json.dumps({"steps": [{"id": "a", "capability": "plain"}]}), seconds=0.3)
    async with fake_model(said) as model, AsyncExitStack() as stack:
        thinks = {"model_api_url": model.url, "model_name": "fake"}
        coordinator = stack.enter_context(Coordinator(tmp_path / "c", planner="model", **thinks))
        coordinator.start(failpoint=f"store.replan.{moment}=1").ready()
        with Agents(tmp_path / "agents", coordinator.url) as agents:
            agents.register()
            async with httpx.AsyncClient(base_url=coordinator.url, timeout=30) as http:
                body = {"task_description": "Do it", "timeout_seconds": 60}
                answer = await http.post("/execute_task", json=body, headers={"Prefer": "respond-async"})
                assert await asyncio.to_thread(coordinator.process.wait, 20.0) == -signal.SIGKILL
                coordinator.start().ready()

                async def ended() -> Any:
                    view = (await http.get(answer.headers["location"])).json()
                    return view if view["finished_at"] else None

                view = await eventually(ended, seconds=20)
        coordinator.terminate()
        coordinator.process.wait()
        history = History(coordinator.journal)

    assert history.problems(accepted=[view["task_id"]]) == []
    assert [s["step_id"] for s in view["results"]] == (["plan", "a"] if moment == "committed" else DEFAULT)
    assert view["status"] == ("completed" if moment == "committed" else "failed")  # nobody researches here
