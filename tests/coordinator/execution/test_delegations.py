"""Delegations through the coordinator: its records and its ledger decide, not what an agent says of itself."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from shared.agent import Agent, Reply
from shared.agent_loop.loop import Loop
from shared.agent_loop.peers import ASKED_AS, CoordinatorPeers
from shared.contracts import Usage
from shared.conversation import Ask, Message
from shared.errors import ModelFailed, WorkerFault
from shared.limits.envelope import HEADER, Envelope, derive_key, seal
from shared.models.model import LanguageModel
from tests.support import fakes
from tests.support.fakes import Held, Network, Suite


def delegates(*agents: str, tokens: int | None = None) -> dict[str, Any]:
    """A reply that asks so many agents."""
    return {"tool_calls": [{"name": f"delegate_to_{agent}", "arguments": {"task": "Count."}} for agent in agents]}


def thinker(name: str, suite: Suite, *script: Any, access: tuple[str, ...], events: list[Any] | None = None) -> Agent:
    """An agent that runs the loop on a script, with these peers."""

    async def record(type: str, content: Any, session: str | None) -> None:
        if events is not None:
            events.append((type, content))

    async def run(step: Any, ctx: Any) -> Reply:
        secret = suite.settings.worker_key or suite.settings.api_key
        key = secret.get_secret_value() if secret else None
        async with CoordinatorPeers(access, url="http://coordinator", api_key=key, inner=suite.network) as peers:
            loop = Loop(
                name=name,
                instructions="Sail.",
                models=LanguageModel(script=script),
                peers=peers,
                tools=None,
                max_steps=5,
                record=record,
            )
            ask = ctx.ask or Ask((Message("user", step.task_description),), session="session_9")
            return await loop.run(ask, ctx)

    return fakes.agent(name, name, run)


def speaks(name: str, usage: Usage | None = None, seen: list[Any] | None = None) -> Agent:
    """An agent that answers in words."""

    async def run(step: Any, ctx: Any) -> Reply:
        if seen is not None:
            seen.append((step, ctx.envelope))
        return Reply(f"{name} counted seven.", usage=usage or Usage())

    return fakes.agent(name, name, run)


def of(agent: str) -> list[dict[str, Any]]:
    return [{"id": "answer", "agent": agent}]


async def events(suite: Suite, task_id: str) -> list[tuple[str, dict[str, Any]]]:
    found = await suite.services.store.events(task_id, after=0)
    return [(e.type, e.fields) for e in found if e.type.startswith("delegation.")]


async def test_a_delegation_goes_through_the_coordinator(coordinator):
    """The agent gets a step of its own, with depth and ancestry; the task's log says what happened."""
    seen: list[Any] = []
    await coordinator.add(speaks("alpha", Usage(calls=2, input_tokens=10, output_tokens=3), seen))
    await coordinator.add(thinker("captain", coordinator, delegates("alpha"), "Seven.", access=("alpha",)))

    task = await coordinator.execute(plan=of("captain"))

    assert task.results[0].output == "Seven."
    step, envelope = seen[0]
    assert (step.task_id, step.input, step.step_id.startswith("answer.")) == (task.task_id, "Count.", True)
    assert [m["content"] for m in step.context["messages"]] == ["Why are there tides?"]
    assert step.context["session"] == "session_9"
    assert (envelope.depth, envelope.ancestry) == (1, ("captain",))
    (_, began), (_, ended) = await events(coordinator, task.task_id)
    assert (began["from"], began["agent"], began["parent"], began["depth"]) == ("captain", "alpha", "answer", 1)
    assert (ended["status"], ended["usage"]["calls"]) == ("completed", 3)


async def test_usage_of_everybody_counts_once(coordinator):
    """One attempt, two calls of its own model, one delegation, and the two calls that alpha made."""
    await coordinator.add(speaks("alpha", Usage(calls=2, input_tokens=1_000, output_tokens=3)))
    await coordinator.add(thinker("captain", coordinator, delegates("alpha"), "Seven.", access=("alpha",)))

    task = await coordinator.execute(plan=of("captain"))

    assert task.usage.calls == 1 + 2 + 1 + 2
    assert 1_000 <= task.usage.input_tokens < 2_000
    assert task.results[0].usage == task.usage


async def test_three_generations(coordinator):
    told: list[Any] = []
    await coordinator.add(speaks("gamma", Usage(calls=1)))
    await coordinator.add(thinker("beta", coordinator, delegates("gamma"), "B.", access=("gamma",)))
    await coordinator.add(thinker("captain", coordinator, delegates("beta"), "Done.", access=("beta",), events=told))

    task = await coordinator.execute(plan=of("captain"))

    assert task.status == "completed"
    assert task.usage.calls == (1 + 2) + (1 + 2) + (1 + 1)
    found = [
        (f["from"], f["agent"], f["depth"]) for type, f in await events(coordinator, task.task_id) if "started" in type
    ]
    assert found == [("captain", "beta", 1), ("beta", "gamma", 2)]


@pytest.mark.parametrize("limit", [4, 5, 8, 12])
async def test_parallel_children_cannot_overspend(coordinator, limit):
    """Each would take six calls if it were let."""
    greedy: list[Envelope] = []

    async def run(step: Any, ctx: Any) -> Reply:
        greedy.append(ctx.envelope)
        return Reply("x", usage=Usage(calls=min(6, ctx.envelope.calls)))

    await coordinator.add(fakes.agent("alpha", "alpha", run))
    await coordinator.add(thinker("captain", coordinator, delegates(*["alpha"] * 4), "Done.", access=("alpha",)))

    task = await coordinator.execute(plan=of("captain"), max_calls=limit)

    assert task.usage.calls <= limit
    assert task.results[0].output == "Done."


async def test_an_agent_that_is_not_there_is_an_event(coordinator):
    told: list[Any] = []
    await coordinator.add(thinker("captain", coordinator, delegates("ghost"), "Alone.", access=("ghost",), events=told))

    task = await coordinator.execute(plan=of("captain"))

    assert task.results[0].output == "Alone."
    assert [type for type, _ in told] == ["delegation_request", "delegation_error"]
    assert "No agent has ever registered" in told[1][1]["error"]
    assert [(type, f.get("status")) for type, f in await events(coordinator, task.task_id)] == [
        ("delegation.started", None),
        ("delegation.finished", "no_agent"),
    ]


async def test_what_a_failed_step_has_spent_counts(coordinator):
    """Two attempts of two calls each, and the attempts themselves."""

    async def run(step: Any, ctx: Any) -> Reply:
        failure = ModelFailed("Rubbish.", usage=Usage(calls=2, input_tokens=5))
        failure.retryable = step.attempt == 1
        raise failure

    await coordinator.add(fakes.agent("alpha", "alpha", run))

    task = await coordinator.execute(plan=of("alpha"))

    assert task.results[0].error.type == "model_failed"
    assert task.usage == Usage(calls=2 * (1 + 2), input_tokens=10)


async def test_what_a_failed_delegation_has_spent_counts_once(coordinator):
    """It is told with the error, or the agent that asked would spend it again; its own two calls come on top."""

    async def run(step: Any, ctx: Any) -> Reply:
        raise ModelFailed("Rubbish.", usage=Usage(calls=7, input_tokens=5_000))

    await coordinator.add(fakes.agent("alpha", "alpha", run))
    await coordinator.add(thinker("captain", coordinator, delegates("alpha"), "Alone.", access=("alpha",)))

    task = await coordinator.execute(plan=of("captain"))

    assert task.results[0].output == "Alone."
    assert task.usage.calls == 1 + 2 + 1 + 7
    assert 5_000 <= task.usage.input_tokens < 6_000


@pytest.mark.parametrize("more", [{}, {"worker_key": "s0me"}], ids=["api key", "worker key"])
async def test_a_coordinator_with_a_key_is_asked_with_it(network, more):
    """Either key lets an agent ask another, and look whom it may ask."""
    async with Suite(network, speaks("alpha"), api_key="k3y", **more) as suite:
        await suite.add(thinker("captain", suite, delegates("alpha"), "Seven.", access=("alpha",)))

        task = await suite.execute(plan=of("captain"))

        asked = {request.url.path for request in network.calls("coordinator", "/")}
        assert asked == {"/register_agent", "/delegate"}
        assert [kind for kind, _ in await events(suite, task.task_id)] == ["delegation.started", "delegation.finished"]


async def test_cancelling_the_task_ends_what_was_delegated(coordinator):
    held = Held()
    await coordinator.add(fakes.agent("alpha", "alpha", held))
    await coordinator.add(thinker("captain", coordinator, delegates("alpha"), "Done.", access=("alpha",)))
    task_id = await coordinator.begin(plan=of("captain"))
    await fakes.eventually(lambda: held.began)

    await coordinator.client.post(f"/tasks/{task_id}/cancel")

    await fakes.eventually(lambda: held.cancelled)
    assert (await coordinator.ended(task_id)).status == "cancelled"


async def test_a_hung_peer_leaves_time_for_the_answer(coordinator):
    held = Held()
    await coordinator.add(fakes.agent("alpha", "alpha", held))
    await coordinator.add(thinker("captain", coordinator, delegates("alpha"), "Alone.", access=("alpha",)))

    task = await coordinator.execute(plan=of("captain"), timeout_seconds=2.0)

    assert task.results[0].output == "Alone."
    await fakes.eventually(lambda: held.cancelled)


async def test_a_chat_with_a_worker_delegates_too(coordinator):
    """Its task is nobody's but the worker's: the usage is the chat's own to report."""
    await coordinator.add(speaks("alpha", Usage(calls=2, input_tokens=500)))
    await coordinator.add(thinker("captain", coordinator, delegates("alpha"), "Seven.", access=("alpha",)))

    body = {"messages": [{"role": "user", "content": "How many?"}]}
    answer = await coordinator.client.post("/agents/captain/v1/chat/completions", json=body)

    assert answer.json()["choices"][0]["message"]["content"] == "Seven."
    assert answer.json()["usage"]["prompt_tokens"] >= 500


# --- what an agent says of itself -----------------------------------------------------------------


@pytest.fixture
async def asking(coordinator):
    """A task that runs at `captain`, and a function that asks the coordinator in captain's name."""
    held = Held()
    await coordinator.add(fakes.agent("captain", "captain", held))
    await coordinator.add(speaks("alpha"))
    task_id = await coordinator.begin(plan=of("captain"))
    await fakes.eventually(lambda: held.began)
    captain, alpha = (
        next(i for i in coordinator.services.agents.registry.list_all() if i.name == n) for n in ("captain", "alpha")
    )
    true = Envelope(task=task_id, step="answer", attempt=1, milliseconds=5_000)

    async def ask(envelope: Envelope = true, *, by: Any = captain, key_of: Any = None, **changes: Any) -> Any:
        body = json.dumps({"agent": "alpha", "task": "Count."} | changes).encode()
        key = derive_key(coordinator.services.secret, (key_of or by).id)
        headers = {ASKED_AS: by.id, HEADER: seal(envelope, key=key, body=body)}
        return await coordinator.client.post("/delegate", content=body, headers=headers)

    ask.true, ask.captain, ask.alpha = true, captain, alpha  # type: ignore[attr-defined]
    yield ask
    held.let_go.set()


async def test_the_true_agent_is_answered(asking):
    answer = await asking()

    assert answer.status_code == 200
    assert answer.json() == {
        "agent": "alpha",
        "response": "alpha counted seven.",
        "output": "alpha counted seven.",
        "usage": {"calls": 1, "input_tokens": 0, "output_tokens": 0},
        "missing": [],
        "booked": True,
    }


async def test_false_depth_and_limits_do_not_help(asking, coordinator):
    """The coordinator knows itself who holds the step, and how deep it is."""
    lie = replace(asking.true, depth=-9, calls=10**9, milliseconds=10**9)

    assert (await asking(lie)).status_code == 200
    (_, began), *_ = await events(coordinator, asking.true.task)
    assert began["depth"] == 1


async def test_a_task_has_so_many_delegations_open_at_once(asking, coordinator, monkeypatch):
    """Agents that ask agents that ask agents would be many."""
    monkeypatch.setattr("coordinator.execution.delegations.MOST_OPEN", 0)

    answer = await asking()

    assert answer.status_code == 429
    assert "open delegations" in answer.json()["detail"]
    assert [type for type, _ in await events(coordinator, asking.true.task)] == ["delegation.refused"]


async def test_what_is_delegated_ends_with_the_step_that_asked(asking, coordinator):
    """The agent that asked does not hang up, because it is frozen, say: nothing comes after the end, nor is lost."""
    held = Held()
    await coordinator.add(fakes.agent("beta", "beta", held))
    waiting = asyncio.create_task(asking(agent="beta"))
    await fakes.eventually(lambda: held.began)

    await coordinator.client.post(f"/tasks/{asking.true.task}/cancel")
    task = await coordinator.ended(asking.true.task)

    await fakes.eventually(lambda: held.cancelled)
    assert (await waiting).json()["detail"] == "The delegating step has ended."
    assert task.usage.calls == 2
    log = [event.type for event in await coordinator.services.store.events(task.task_id, after=0)]
    assert log[-3:] == ["delegation.finished", "step.failed", "task.finished"]


async def test_what_a_delegated_step_delegates_ends_with_it(asking, coordinator):
    """Two generations down; the one in the middle answers without waiting."""
    held = Held()

    async def run(step: Any, ctx: Any) -> Reply:
        asking_on.append(asyncio.create_task(asking(replace(asking.true, step=step.step_id), by=beta(), agent="gamma")))
        await fakes.eventually(lambda: held.began)
        return Reply("done")

    def beta() -> Any:
        return next(i for i in coordinator.services.agents.registry.list_all() if i.name == "beta")

    asking_on: list[Any] = []
    await coordinator.add(fakes.agent("gamma", "gamma", held))
    await coordinator.add(fakes.agent("beta", "beta", run))

    answer = await asking(agent="beta")

    assert answer.json()["usage"]["calls"] == 2
    await fakes.eventually(lambda: held.cancelled)
    assert (await asking_on[0]).status_code == 502


async def test_second_attempt_keeps_the_rest_of_its_delegations(coordinator):
    """Of ten calls: the two attempts, and five that were delegated."""
    envelopes = []

    async def captain(step: Any, ctx: Any) -> Reply:
        envelopes.append(ctx.envelope)
        if step.attempt == 1:
            await asker(coordinator, step.task_id)("captain", "answer", "alpha")
            raise WorkerFault("Once more.", retryable=True)
        return Reply("done")

    await coordinator.add(speaks("alpha", Usage(calls=4)))
    await coordinator.add(fakes.agent("captain", "captain", captain))

    task = await coordinator.execute(plan=of("captain"), max_calls=10)

    assert [e.calls for e in envelopes] == [9, 3]
    assert task.usage.calls == 7


async def test_what_was_delegated_before_a_restart_is_spent(tmp_path):
    """By two generations, of which the younger has not ended: 1 + 4, 1 and 1 of ten calls, and the step's own."""
    held, envelopes = Held(), []

    async def captain(step: Any, ctx: Any) -> Reply:
        envelopes.append(ctx.envelope)
        return await held(step, ctx)

    async def beta(step: Any, ctx: Any) -> Reply:
        return await held(step, ctx)

    def agents() -> list[Agent]:
        run = {"captain": captain, "beta": beta, "gamma": beta}
        return [speaks("alpha", Usage(calls=4)), *(fakes.agent(n, n, r) for n, r in run.items())]

    journal = {"database_url": f"sqlite:///{tmp_path}/muster.db"}
    async with Suite(Network(), *agents(), **journal) as first:
        task_id = await first.begin(plan=of("captain"), max_calls=10)
        await fakes.eventually(lambda: held.began)
        ask = asker(first, task_id)
        assert (await ask("captain", "answer", "alpha")).status_code == 200
        open = [asyncio.create_task(ask("captain", "answer", "beta", calls=3))]
        await fakes.eventually(lambda: len(held.began) == 2)
        open.append(asyncio.create_task(ask("beta", held.began[1].step_id, "gamma")))
        await fakes.eventually(lambda: len(held.began) == 3)
        first.services.store.note = lambda *_: None  # nothing that ends now is written: a kill
        await first.services.dispatcher.close()
    for one in open:
        one.cancel()

    held.let_go.set()
    async with Suite(Network(), *agents(), **journal) as second:
        task = await second.ended(task_id)
        log = await events(second, task_id)

    assert [e.calls for e in envelopes] == [9, 2]
    assert (task.status, task.usage.calls) == ("completed", 8)
    assert [f["status"] for type, f in log if type == "delegation.finished"] == ["completed", "cut_off", "cut_off"]


def asker(suite: Suite, task_id: str) -> Any:
    """A function that asks for an agent in another one's name."""

    async def ask(name: str, step: str, agent: str, **wish: Any) -> Any:
        by = next(i for i in suite.services.agents.registry.list_all() if i.name == name)
        body = json.dumps({"agent": agent, "task": "Count."} | wish).encode()
        envelope = Envelope(task=task_id, step=step, attempt=1, milliseconds=5_000)
        header = seal(envelope, key=derive_key(suite.services.secret, by.id), body=body)
        return await suite.client.post("/delegate", content=body, headers={ASKED_AS: by.id, HEADER: header})

    return ask


async def test_another_agents_step_is_refused(asking):
    assert (await asking(by=asking.alpha, agent="captain")).status_code == 401


async def test_another_agents_key_is_refused(asking):
    assert (await asking(key_of=asking.alpha)).status_code == 401


@pytest.mark.parametrize("changes", [{"step": "other"}, {"task": "gone"}])
async def test_a_step_that_does_not_run_is_refused(asking, coordinator, changes):
    """Of an open task, and of one that has ended."""
    if "task" in changes:
        done = await coordinator.execute(plan=of("alpha"))
        changes = {"task": done.task_id}

    answer = await asking(replace(asking.true, **changes))

    assert answer.status_code == 401
    assert answer.json()["type"].endswith("envelope_refused")


@pytest.mark.parametrize("missing", [ASKED_AS, HEADER])
async def test_who_does_not_say_who_asks_is_refused(asking, coordinator, missing):
    headers = {ASKED_AS: asking.captain.id, HEADER: "x.y"}
    del headers[missing]

    answer = await coordinator.client.post("/delegate", json={"agent": "alpha", "task": "x"}, headers=headers)

    assert answer.status_code == 401
    assert HEADER in answer.json()["detail"]


async def test_itself_is_refused_and_an_event(asking, coordinator):
    answer = await asking(agent="captain")

    assert answer.status_code == 429
    assert "already in the chain" in answer.json()["detail"]
    assert [type for type, _ in await events(coordinator, asking.true.task)] == ["delegation.refused"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"agent": "no name"}, "/agent"),
        ({"task": ""}, "/task"),
        ({"task": 7}, "/task"),
        ({"calls": -1}, "/calls"),
        ({"milliseconds": 0}, "/milliseconds"),
        ({"messages": [{"role": "captain", "content": "x"}]}, "/messages/0/role"),
        ({"messages": [{"role": "user", "content": "x"}] * 101}, "/messages"),
    ],
)
async def test_a_wrong_wish_is_named(asking, changes, pointer):
    answer = await asking(**changes)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_depth_six_is_refused(asking, coordinator):
    """Of a chat, whose depth only its agent knows."""
    chat = replace(asking.true, task="chat", depth=5)

    answer = await asking(chat)

    assert answer.status_code == 429
    assert "depth 5" in answer.json()["detail"]


async def test_who_hangs_up_ends_the_work(coordinator, network):
    held = Held()
    await coordinator.add(fakes.agent("alpha", "alpha", held))
    await coordinator.add(thinker("captain", coordinator, delegates("alpha"), "Done.", access=("alpha",)))
    body = {"messages": [{"role": "user", "content": "How many?"}]}
    chat = asyncio.create_task(coordinator.client.post("/agents/captain/v1/chat/completions", json=body))
    await fakes.eventually(lambda: held.began)

    chat.cancel()

    await fakes.eventually(lambda: held.cancelled)
