"""The generic agent, as KAOS's users know theirs: discovery, delegation with memory on both sides, tools, isolation."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from shared.conversation import Ask, Final, Message
from shared.memory.store import Memory
from shared.models.model import LanguageModel
from shared.worker.app import create_worker_app
from shared.worker.chat import WorkerFace
from shared.worker.execution import Opened
from shared.worker.steps import Steps
from tests.support.fake_model import FakeModel, Says, fake_model
from tests.support.fakes import Network, Suite, eventually, serving
from tests.support.processes import Service, start
from workers.agent import agent
from workers.generic.settings import GenericSettings


def settings(name: str = "boss", **more: Any) -> GenericSettings:
    return GenericSettings(_env_file=None, agent_name=name, **more)


def fence(name: str, task: str) -> str:
    """A delegation as KAOS's models wrote it first."""
    return f"Let me ask.\n```delegate\n{json.dumps({'agent': name, 'task': task})}\n```"


class One:
    """A generic agent in this process, asked over HTTP."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def chat(self, text: str, *, session: str | None = None, **body: Any) -> str:
        headers = {"X-Session-ID": session} if session else {}
        messages = body.pop("messages", [{"role": "user", "content": text}])
        answer = await self.client.post("/v1/chat/completions", json={"messages": messages, **body}, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    async def events(self, **query: Any) -> list[dict[str, Any]]:
        return list((await self.client.get("/memory/events", params=query)).json()["events"])

    async def types(self, **query: Any) -> list[str]:
        return [event["event_type"] for event in await self.events(**query)]

    async def contents(self, type: str) -> list[Any]:
        return [event["content"] for event in await self.events(event_type=type)]


class Team:
    """Generic agents on one network, each at `http://<its name>`, with a script or a model of its own."""

    def __init__(self) -> None:
        self.network = Network()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Team:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        await self.network.hang_up()

    async def add(
        self, name: str, *script: Any, model: FakeModel | None = None, folder: Path | None = None, **more: Any
    ) -> One:
        set_ = settings(name, **more)
        thinks = (
            LanguageModel(url=model.url, name="fake", native_tools=more.pop("native", True))
            if model
            else LanguageModel(script=list(script))
        )
        memory = Memory(name, folder)
        app = create_worker_app(
            agent(set_, thinks, memory, inner=self.network),
            settings=set_,
            endpoint=f"http://{name}",
            inner=self.network,
        )
        self.network.host(name, app)
        await self._stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url=f"http://{name}")
        return One(await self._stack.enter_async_context(client))


@pytest.fixture
async def team() -> AsyncIterator[Team]:
    async with Team() as team:
        yield team


# --- discovery ----------------------------------------------------------------------------------------


async def test_a_plain_agent_shows_who_it_is(team: Team) -> None:
    plain = await team.add("plain", "Hello", agent_description="Greets.")

    card = (await plain.client.get("/.well-known/agent")).json()

    assert (card["name"], card["description"], card["skills"]) == ("plain", "Greets.", [])
    assert card["capabilities"] == ["message_processing", "task_execution"]
    assert [s["id"] for s in (await plain.client.get("/.well-known/agent-card.json")).json()["skills"]] == ["chat"]


async def test_delegating_agent_says_so_without_peers(team: Team) -> None:
    """Who may delegate says so even if nobody is there."""
    boss = await team.add("boss", "Hello", agent_sub_agents="worker-1:http://nowhere")

    card = (await boss.client.get("/.well-known/agent")).json()

    assert card["capabilities"] == ["message_processing", "task_execution", "task_delegation"]
    assert [skill["name"] for skill in card["skills"]] == ["delegate_to_worker-1"]
    assert await boss.chat("Hello") == "Hello"


async def test_capabilities_are_skills(team: Team) -> None:
    pricer = await team.add("pricer", "1", agent_capabilities="price, quote")

    assert [s["name"] for s in (await pricer.client.get("/.well-known/agent")).json()["skills"]] == ["price", "quote"]


# --- delegation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asks",
    [
        fence("worker", "Add 2 and 2"),
        '{"agent": "worker", "task": "Add 2 and 2"}',
        {"agent": "worker", "task": "Add 2 and 2"},
        {"tool_calls": [{"id": "1", "name": "delegate_to_worker", "arguments": {"task": "Add 2 and 2"}}]},
        json.dumps({"tool_calls": [{"id": "1", "name": "delegate_to_worker", "arguments": {"task": "Add 2 and 2"}}]}),
    ],
    ids=["fence", "JSON", "object", "tool_calls", "tool_calls as text"],
)
async def test_a_delegation_is_remembered_on_both_sides(team: Team, asks: Any) -> None:
    boss = await team.add("boss", asks, "The worker says 4.", agent_sub_agents="worker:http://worker")
    worker = await team.add("worker", "It's 4, None less.")

    assert await boss.chat("What is 2 + 2?") == "The worker says 4."

    assert await boss.types() == ["user_message", "delegation_request", "delegation_response", "agent_response"]
    assert await worker.types() == ["user_message", "task_delegation_received", "agent_response"]
    [request], [response] = await boss.contents("delegation_request"), await boss.contents("delegation_response")
    assert (request["agent"], request["task"], request["tool"]) == ("worker", "Add 2 and 2", "delegate_to_worker")
    assert (response["agent"], response["response"]) == ("worker", "It's 4, None less.")
    assert await worker.contents("task_delegation_received") == ["Add 2 and 2"]
    assert await worker.contents("agent_response") == ["It's 4, None less."]


async def test_dead_worker_is_an_event(team: Team) -> None:
    """A worker that is down is an event and the model decides."""
    boss = await team.add("boss", fence("gone", "Hello?"), "Nobody is there.", agent_sub_agents="gone:http://gone")

    assert await boss.chat("Ask") == "Nobody is there."

    assert await boss.types() == ["user_message", "delegation_request", "delegation_error", "agent_response"]
    assert "gone" in (await boss.contents("delegation_error"))[0]["error"]


async def test_a_chain_of_three(team: Team) -> None:
    boss = await team.add("boss", fence("middle", "Go on"), "Done: end.", agent_sub_agents="middle:http://middle")
    await team.add("middle", fence("end", "Go on, too"), "From the end.", agent_sub_agents="end:http://end")
    end = await team.add("end", "The end.")

    assert await boss.chat("Begin") == "Done: end."
    assert await end.contents("task_delegation_received") == ["Go on, too"]


async def test_agents_that_ask_each_other_come_to_an_end(team: Team) -> None:
    one = await team.add("one", fence("two", "You do it"), "Enough.", agent_sub_agents="two:http://two")
    two = await team.add("two", fence("one", "No, you"), "Then nobody.", agent_sub_agents="one:http://one")

    assert await one.chat("Begin") == "Enough."
    assert "already in the chain" in (await two.contents("delegation_error"))[0]["error"]


# --- mocks --------------------------------------------------------------------------------------------


async def test_a_script_that_runs_out_says_so(team: Team) -> None:
    boss = await team.add("boss", fence("worker", "Hello"), agent_sub_agents="worker:http://worker")
    empty = await team.add("worker")

    assert await boss.chat("Ask") == "[no more mock responses]"
    assert await empty.chat("Ask") == "[no more mock responses]"


async def test_every_request_has_the_script_to_itself(team: Team) -> None:
    """Eight at once, each with a delegation and an answer."""
    boss = await team.add("boss", fence("worker", "Do it"), "Done.", agent_sub_agents="worker:http://worker")
    worker = await team.add("worker", "Did it.")

    assert await asyncio.gather(*(boss.chat(f"Question {n}") for n in range(8))) == ["Done."] * 8
    assert len(await worker.contents("task_delegation_received")) == 8


async def test_two_requests_with_different_mocks_at_the_same_time() -> None:
    one = agent(settings("one"), LanguageModel(script=["scripted"]), Memory("one"))
    steps = Steps(one, limit=8)
    async with one.open() as loop, httpx.AsyncClient() as http:
        face = WorkerFace(one, steps, lambda: Opened(loop, http))

        async def said(*mocks: Any) -> str:
            pieces = [p async for p in face.answer(Ask((Message("user", "Hello"),), mocks=mocks or None))]
            assert isinstance(pieces[-1], Final)
            return pieces[-1].text

        assert await asyncio.gather(said("first"), said("second"), said()) == ["first", "second", "scripted"]


async def test_too_many_steps_are_no_answer_to_remember(team: Team) -> None:
    boss = await team.add(
        "boss",
        *[fence("worker", f"Again, {n}") for n in range(9)],
        agent_sub_agents="worker:http://worker",
        agentic_loop_max_steps=2,
    )
    await team.add("worker", "Did it.")

    assert await boss.chat("Begin") == "Reached maximum reasoning steps (2)\n\nworker: Did it."
    assert (await boss.types())[-1] == "delegation_response"


async def test_answer_cut_at_a_limit_says_so(team: Team, coordinator: Suite) -> None:
    """An answer that is cut at a limit says so everywhere."""
    async with fake_model(Says("The tides are", finish="length")) as model:
        one = await team.add("one", model=model)
        thinks = LanguageModel(url=model.url, name="fake")
        await coordinator.add(agent(settings("thinker"), thinks, Memory("thinker")))
        ask = {"model": "thinker", "messages": [{"role": "user", "content": "Why?"}]}
        for client in (one.client, coordinator.client):
            whole = (await client.post("/v1/chat/completions", json=ask)).json()
            streamed = await client.post("/v1/chat/completions", json=ask | {"stream": True})

            (choice,) = whole["choices"]
            assert (choice["message"]["content"], choice["finish_reason"]) == ("The tides are", "length")
            assert '"finish_reason":"length"' in streamed.text
            assert '"finish_reason":"stop"' not in streamed.text

        task = await coordinator.execute("Why?", agents=["thinker"])

    assert [(m.what, m.why) for m in task.missing] == [
        ("the end of the answer", "The model of 'thinker' reached its token or time limit.")
    ]


async def test_silent_model_explains_its_tokens(team: Team) -> None:
    """An agent whose model used up its tokens without a word says why."""
    async with fake_model(Says("", finish="length")) as model:
        one = await team.add("one", model=model)
        answer = await one.client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Why?"}]})

    assert answer.status_code == 502
    assert "said nothing within its token limit" in answer.json()["error"]["message"]


# --- sessions -----------------------------------------------------------------------------------------


async def test_session_is_remembered_others_are_not(team: Team) -> None:
    """A session is remembered in the prompt and others are not."""
    async with fake_model("Hello Ann.", "Hello Bob.", "You are Ann.") as model:
        one = await team.add("one", model=model)
        await one.chat("I am Ann.", session="ann")
        await one.chat("I am Bob.", session="bob")

        assert await one.chat("Who am I?", session="ann") == "You are Ann."

        said = [m["content"] for m in model.asked[-1]["messages"] if m["role"] != "system"]
        assert said == ["I am Ann.", "Hello Ann.", "Who am I?"]
        assert (await one.client.get("/memory/sessions")).json()["sessions"] == ["ann", "bob"]
        assert [e["content"] for e in await one.events(session_id="bob")] == ["I am Bob.", "Hello Bob."]


async def test_what_a_client_brings_is_not_added_again(team: Team) -> None:
    async with fake_model("Hello Ann.", "You are Ann.") as model:
        one = await team.add("one", model=model)
        await one.chat("I am Ann.", session="ann")
        turns = [("user", "I am Ann."), ("assistant", "Hello Ann."), ("user", "Who am I?")]
        await one.chat("", session="ann", messages=[{"role": r, "content": c} for r, c in turns])

        assert [m["content"] for m in model.asked[-1]["messages"] if m["role"] != "system"] == [c for _, c in turns]
        assert await one.types() == ["user_message", "agent_response"] * 2


async def test_a_chat_without_a_session_knows_nothing(team: Team) -> None:
    async with fake_model("Hello.") as model:
        one = await team.add("one", model=model)
        for text in ("I am Ann.", "Who am I?"):
            await one.chat(text)

        assert [m["content"] for m in model.asked[-1]["messages"] if m["role"] != "system"] == ["Who am I?"]
        assert len((await one.client.get("/memory/sessions")).json()["sessions"]) == 2


async def test_instructions_come_before_what_the_user_sets(team: Team) -> None:
    async with fake_model("Ok.") as model:
        one = await team.add("one", model=model, agent_instructions="Speak of tides only.")
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
        await one.chat("", messages=turns)

        prompt = model.prompt()
        assert 0 <= prompt.index("Speak of tides only.") < prompt.index("Be brief.")


@pytest.mark.parametrize("through", ["the agent itself", "the coordinator"])
async def test_how_a_reply_is_drawn_reaches_the_model(team: Team, coordinator: Suite, through: str) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    options = {"temperature": 0, "top_p": 0.5, "seed": 7, "stop": "END", "max_tokens": 9, "response_format": shape}
    ask = {"model": "thinker", "messages": [{"role": "user", "content": "Why?"}], **options}
    async with fake_model("{}") as model:
        one = await team.add("one", model=model)
        thinks = LanguageModel(url=model.url, name="fake")
        await coordinator.add(agent(settings("thinker"), thinks, Memory("thinker")))
        client = one.client if through == "the agent itself" else coordinator.client
        answer = await client.post("/v1/chat/completions", json=ask)

        sent = model.asked[-1]
    assert answer.status_code == 200, answer.text
    assert sent["stop"] == ["END"]
    assert sent.get("max_tokens") or sent.get("max_completion_tokens") == 9
    assert {name: sent[name] for name in ("temperature", "top_p", "seed", "response_format")} == {
        name: options[name] for name in ("temperature", "top_p", "seed", "response_format")
    }


async def test_unknown_options_change_nothing(coordinator: Suite) -> None:
    """Options that are none in a task's context change nothing."""
    async with fake_model("Fine.") as model:
        thinks = LanguageModel(url=model.url, name="fake")
        await coordinator.add(agent(settings("thinker"), thinks, Memory("thinker")))
        for options in ({"temperature": "hot"}, {"stop": "x"}, ["no"], 7):
            task = await coordinator.execute("Think", agents=["thinker"], context={"options": options})
            assert task.status == "completed"

        assert all("temperature" not in body and "stop" not in body for body in model.asked)


# --- tools --------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def calculator() -> AsyncIterator[str]:
    """An MCP server with one tool, on a real port."""
    from mcp.server import MCPServer

    server = MCPServer("calculator")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    async with serving(server.streamable_http_app()) as url:
        yield url


@pytest.mark.parametrize(
    "asks",
    [
        '```tool_call\n{"tool": "add", "arguments": {"a": 2, "b": 3}}\n```',
        '{"tool": "add", "arguments": {"a": 2, "b": 3}}',
        {"tool_calls": [{"id": "1", "name": "add", "arguments": {"a": 2, "b": 3}}]},
    ],
    ids=["fence", "JSON", "tool_calls"],
)
async def test_a_tool_is_shown_called_and_remembered(team: Team, monkeypatch: pytest.MonkeyPatch, asks: Any) -> None:
    async with calculator() as url, team:
        monkeypatch.setenv("MCP_SERVER_calc_URL", url)
        one = await team.add("one", asks, "It is 5.", mcp_servers="[calc]")

        assert await one.chat("What is 2 + 3?") == "It is 5."

        card = (await one.client.get("/.well-known/agent")).json()
        assert card["capabilities"][-1] == "tool_execution"
        assert [(s["name"], s["description"]) for s in card["skills"]] == [("add", "Adds two numbers.")]
        assert set(card["skills"][0]["inputSchema"]["properties"]) == {"a", "b"}
        assert [t["function"]["name"] for t in (await one.client.get("/tools")).json()["tools"]] == ["add"]
        assert await one.types() == ["user_message", "tool_call", "tool_result", "agent_response"]
        assert await one.contents("tool_call") == [{"tool": "add", "arguments": {"a": 2, "b": 3}}]
        assert await one.contents("tool_result") == [{"tool": "add", "result": {"result": 5}}]


async def test_ready_once_tools_and_cards_are_known(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card lists them from the first moment that somebody may ask for it."""
    worker = team.add("worker", "Hello.", agent_description="Adds.")
    async with calculator() as url:
        monkeypatch.setenv("MCP_SERVER_CALC_URL", url)
        one = await team.add("one", "Hello.", mcp_servers="calc", agent_sub_agents="worker:http://worker")

        early = await one.client.get("/ready")
        await worker
        await eventually(lambda: _is_ready(one))
        skills = (await one.client.get("/.well-known/agent")).json()["skills"]

    assert (early.status_code, early.json()["missing"]) == (503, "tools and cards")
    assert [(s["name"], s["description"]) for s in skills] == [
        ("add", "Adds two numbers."),
        ("delegate_to_worker", "Asks agent worker: Adds."),
    ]


async def _is_ready(one: One) -> bool:
    return (await one.client.get("/ready")).status_code == 200


async def test_it_is_ready_after_three_seconds_whoever_is_away(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SERVER_GONE_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    one = await team.add("one", "Hello.", mcp_servers="gone", agent_sub_agents="ghost:http://ghost")

    await eventually(lambda: _is_ready(one))

    assert time.monotonic() - began > 2.5


async def test_tools_that_are_away_are_missing_and_not_silent(
    coordinator: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_SERVER_GONE_URL", "http://127.0.0.1:9/s3cret/mcp")
    one = agent(settings("one", mcp_servers="gone"), LanguageModel(script=["1921"]), Memory("one"))
    await coordinator.add(one)

    task = await coordinator.execute("What is 1712 + 2599?", agents=["one"])

    [missing] = task.missing
    assert missing.what == "tools of gone"
    assert "s3cret" not in missing.why


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_names_absent_tools_and_hides_calls(
    team: Team, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """A chat says which tools are away and shows no call of them."""
    monkeypatch.setenv("MCP_SERVER_GONE_URL", "http://127.0.0.1:9")
    one = await team.add("one", '{"tool": "add", "arguments": {"a": 2, "b": 3}}', "I cannot add.", mcp_servers="gone")

    ask = {"messages": [{"role": "user", "content": "2 + 3?"}], "stream": stream}
    said = (await one.client.post("/v1/chat/completions", json=ask)).text

    assert "I cannot add." in said
    assert '\\"tool\\"' not in said
    assert '"missing":[{"what":"tools of gone"' in said.replace(": ", ":").replace(", ", ",")


async def test_absent_tool_server_costs_only_its_tools(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool server that is away costs its tools only."""
    monkeypatch.setenv("MCP_SERVER_GONE_URL", "http://127.0.0.1:9")
    one = await team.add("one", "Still here.", mcp_servers="gone")

    assert await one.chat("Hello") == "Still here."
    card = (await one.client.get("/.well-known/agent")).json()
    assert (card["skills"], card["capabilities"][-1]) == ([], "tool_execution")


# --- with a coordinator -------------------------------------------------------------------------------


async def test_a_plan_asks_it_by_name_and_by_capability(coordinator: Suite) -> None:
    memory = Memory("pricer")
    one = agent(settings("pricer", agent_capabilities="price"), LanguageModel(script=["It costs 3."]), memory)
    await coordinator.add(one)

    for target in ({"agent": "pricer"}, {"capability": "price"}):
        task = await coordinator.execute("What does it cost?", plan=[{"id": "p", "input": "A pear?", **target}])
        assert (task.status, task.results[0].output) == ("completed", "It costs 3.")
        assert task.usage.calls >= 1

    assert [(e.type, e.content) for e in await memory.read_events()] == [
        ("task_delegation_received", "A pear?"),
        ("agent_response", "It costs 3."),
    ] * 2
    assert len(await memory.read_sessions()) == 2


async def test_earlier_results_are_data_in_the_prompt(coordinator: Suite) -> None:
    """What the steps before gave is in the prompt as data."""
    async with fake_model("First.", "Second.") as model:
        memory = Memory("thinker")
        one = agent(settings("thinker"), LanguageModel(url=model.url, name="fake"), memory)
        await coordinator.add(one)
        plan = [{"id": "a", "agent": "thinker"}, {"id": "b", "agent": "thinker", "needs": ["a"], "input": "Go on"}]

        task = await coordinator.execute("Think", plan=plan)

        assert task.status == "completed"
        asked = model.asked[-1]["messages"][-1]["content"]
        assert asked.startswith("Go on\n\nWhat step 'a' gave:\n<data ")
        assert "First." in asked
        assert len(await memory.read_sessions()) == 2


async def test_a_context_of_strange_shape_is_no_obstacle(coordinator: Suite) -> None:
    async with fake_model("Fine.") as model:
        memory = Memory("thinker")
        await coordinator.add(agent(settings("thinker"), LanguageModel(url=model.url, name="fake"), memory))
        turns = [
            {"role": "task-delegation", "content": "Said before."},
            {"role": ["user"], "content": "no"},
            {"role": "tool", "content": "no"},
            {"role": "user", "content": None},
            7,
        ]
        for context in ({"messages": turns, "session": ""}, {"messages": "no", "session": 7}, ["no"], "no"):
            plan = [{"id": "a", "agent": "thinker", "input": "Now."}]
            assert (await coordinator.execute("Think", plan=plan, context=context)).status == "completed"

        first = [m["content"] for m in model.asked[0]["messages"] if m["role"] != "system"]
        assert first == ["Said before.\n\nNow."]  # turns alternate, for templates that insist
        assert len(await memory.read_sessions()) == 4


async def test_text_after_the_question_is_no_question(coordinator: Suite) -> None:
    """What follows the question of a chat is not taken for it."""
    async with fake_model("Pomme.") as model:
        await coordinator.add(agent(settings("thinker"), LanguageModel(url=model.url, name="fake"), Memory("thinker")))
        turns = [("system", "Be brief."), ("user", "What is it?"), ("system", "In French.")]
        said = [{"role": role, "content": content} for role, content in turns]
        await coordinator.client.post("/v1/chat/completions", json={"model": "thinker", "messages": said})

        system, *rest = model.asked[0]["messages"]
        assert "Be brief.\n\nIn French." in system["content"]
        assert [m["content"] for m in rest] == ["What is it?"]


async def test_a_session_reaches_it_through_the_coordinator(coordinator: Suite) -> None:
    async with fake_model("Hello Ann.", "You are Ann.") as model:
        memory = Memory("thinker")
        await coordinator.add(agent(settings("thinker"), LanguageModel(url=model.url, name="fake"), memory))
        for text in ("I am Ann.", "Who am I?"):
            answer = await coordinator.client.post(
                "/v1/chat/completions",
                json={"model": "thinker", "messages": [{"role": "user", "content": text}]},
                headers={"X-Session-ID": "ann"},
            )
            assert answer.status_code == 200, answer.text

        said = [m["content"] for m in model.asked[-1]["messages"] if m["role"] != "system"]
        assert said == ["I am Ann.", "Hello Ann.", "Who am I?"]
        assert [s for _, s in await memory.read_sessions()] == ["ann"]
        events = (await coordinator.client.get("/memory/events")).json()["events"]
        assert {e["session_id"] for e in events} == {"ann"}
        assert [e["content"] for e in events if e["event_type"] == "user_message"] == ["I am Ann.", "Who am I?"]


async def joined(suite: Suite, name: str, *script: Any, peers: str = "", **more: Any) -> tuple[Memory, Any]:
    """A generic agent that is registered, and asks others through the coordinator; its memory and its app."""
    memory = Memory(name)
    set_ = settings(name, coordinator_url="http://coordinator", peer_agents=peers, **more)
    one = agent(set_, LanguageModel(script=list(script)), memory, inner=suite.network)
    return memory, await suite.add(one)


async def happened(memory: Memory) -> list[str]:
    return [event.type for event in await memory.read_events()]


async def test_it_asks_others_through_the_coordinator(coordinator: Suite) -> None:
    """Without an address of theirs; the task's own log knows, and both agents remember."""
    boss, _ = await joined(coordinator, "boss", fence("worker", "Count."), "Seven.", peers="worker")
    worker, _ = await joined(coordinator, "worker", "It's seven.")

    task = await coordinator.execute("How many?", plan=[{"id": "a", "agent": "boss"}])

    assert (task.status, task.results[0].output) == ("completed", "Seven.")
    received = "task_delegation_received"
    assert await happened(boss) == [received, "delegation_request", "delegation_response", "agent_response"]
    assert [(e.type, e.content) for e in await worker.read_events()] == [
        (received, "Count."),
        ("agent_response", "It's seven."),
    ]
    assert [r.method for r in coordinator.network.calls("coordinator", "/delegate")].count("POST") == 1
    assert not coordinator.network.calls("worker", "/v1/chat/completions")


async def test_a_chat_with_it_goes_through_the_coordinator_too(coordinator: Suite) -> None:
    boss, app = await joined(coordinator, "boss", fence("worker", "Count."), "Seven.", peers="worker")
    worker, _ = await joined(coordinator, "worker", "It's seven.")
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://boss") as client:
        assert await One(client).chat("How many?") == "Seven."

    assert await happened(boss) == ["user_message", "delegation_request", "delegation_response", "agent_response"]
    assert await happened(worker) == ["task_delegation_received", "agent_response"]
    assert [r.method for r in coordinator.network.calls("coordinator", "/delegate")].count("POST") == 1


async def test_a_peer_that_nobody_registered_is_an_event(coordinator: Suite) -> None:
    boss, _ = await joined(coordinator, "boss", fence("ghost", "Boo?"), "Nobody.", peers="ghost")

    task = await coordinator.execute("Who?", plan=[{"id": "a", "agent": "boss"}])

    assert task.results[0].output == "Nobody."
    assert (await happened(boss))[-2:] == ["delegation_error", "agent_response"]


# --- settings -----------------------------------------------------------------------------------------


def test_peers_are_named_as_kaos_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEER_AGENT_WORKER_1_CARD_URL", "http://one:8000/.well-known/agent")
    monkeypatch.setenv("PEER_AGENT_TWO_CARD_URL", "http://two:8000/")

    found = settings(peer_agents="worker-1, two").peers()

    assert found == {"worker-1": "http://one:8000", "two": "http://two:8000"}
    assert settings(peer_agents="two", agent_sub_agents="x:http://x:1,y:http://y").peers() == {
        "x": "http://x:1",
        "y": "http://y",
    }
    assert settings(peer_agents="three", coordinator_url="http://c").peers() == {"three": None}


def test_tool_servers_are_named_as_kaos_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SERVER_my-calc_URL", "http://calc:1")
    monkeypatch.setenv("MCP_SERVER_OTHER_URL", "http://other:1/mcp")

    found = {"my-calc": "http://calc:1/mcp", "other": "http://other:1/mcp"}

    assert settings(mcp_servers="[my-calc, other]").tool_servers() == found
    assert settings(mcp_servers="my-calc,other").tool_servers() == found


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"agent_name": ""}, "AGENT_NAME must be set"),
        ({"agent_name": "no name!"}, "AGENT_NAME: 'no name!' is not a valid name"),
        ({"agent_capabilities": "good, b@d"}, "AGENT_CAPABILITIES: 'b@d' is not a valid name"),
        ({"agent_capabilities": ",".join(f"c{n}" for n in range(65))}, "AGENT_CAPABILITIES: at most 64"),
        ({"peer_agents": "a-b"}, "PEER_AGENT_A_B_CARD_URL must be set"),
        ({"mcp_servers": "calc"}, "MCP_SERVER_CALC_URL must be set"),
        ({"agent_sub_agents": "alone"}, "AGENT_SUB_AGENTS: alone: '' is not an http"),
        ({"agent_sub_agents": "a:ftp://x"}, "AGENT_SUB_AGENTS: a: 'ftp://x' is not an http"),
        ({"agent_sub_agents": "a:http://[x"}, "AGENT_SUB_AGENTS: a: 'http://[x' is not an http"),
        ({"agentic_loop_max_steps": 0}, "agentic_loop_max_steps"),
        ({"memory_context_limit": -1}, "memory_context_limit"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**{"name": "boss"} | {k: v for k, v in wrong.items() if k != "agent_name"}) if (
            "agent_name" not in wrong
        ) else settings(wrong["agent_name"])

    assert said in str(caught.value)


# --- real processes -----------------------------------------------------------------------------------


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Any]:
    """Starts generic agents; each may be killed and started again at the same port and folder."""
    with contextlib.ExitStack() as made:

        def make(name: str, script: Any = ("Hello.",), **environment: str) -> Service:
            env = {"AGENT_NAME": name, "DEBUG_MOCK_RESPONSES": json.dumps(list(script))} | environment
            return made.enter_context(Service("workers.agent", tmp_path / name, env=env)).start().ready()

        yield make


def asked(one: Service, text: str, **headers: str) -> str:
    body = {"messages": [{"role": "user", "content": text}]}
    answer = httpx.post(f"{one.url}/v1/chat/completions", json=body, headers=headers, timeout=30.0)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def remembered(one: Service, **query: str) -> list[tuple[str, Any]]:
    events = httpx.get(f"{one.url}/memory/events", params=query, timeout=10.0).json()["events"]
    return [(event["event_type"], event["content"]) for event in events]


def test_three_processes_on_chosen_ports(processes: Any) -> None:
    """Both workers are asked in one step; each remembers its own task; one is killed, and the boss goes on."""
    workers = [processes(f"worker-{n}", [f"Worker {n} did it."]) for n in (1, 2)]
    both = fence("worker-1", "Task one") + "\n" + fence("worker-2", "Task two").removeprefix("Let me ask.\n")
    boss = processes(
        "boss",
        [both, "Both did it."],
        PEER_AGENTS="worker-1,worker-2",
        PEER_AGENT_WORKER_1_CARD_URL=workers[0].url,
        PEER_AGENT_WORKER_2_CARD_URL=workers[1].url,
    )

    assert asked(boss, "Do both") == "Both did it."
    for number, task in ((1, "Task one"), (2, "Task two")):
        events = remembered(workers[number - 1])
        assert ("task_delegation_received", task) in events
        assert events[-1] == ("agent_response", f"Worker {number} did it.")
        assert not any("Task" in str(content) and content != task for type, content in events if "task" in type)
    kinds = [type for type, _ in remembered(boss)]
    assert sorted(kinds[1:-1]) == ["delegation_request"] * 2 + ["delegation_response"] * 2

    workers[0].kill()
    assert asked(boss, "Do both again") == "Both did it."
    assert [type for type, _ in remembered(boss)].count("delegation_error") == 1
    assert asked(workers[1], "Are you there?") == "Worker 2 did it."


def test_memory_survives_kill_9(processes: Any) -> None:
    one = processes("one", ["Hello Ann."])
    asked(one, "I am Ann.", **{"X-Session-ID": "ann"})
    before = remembered(one, session_id="ann")

    one.kill()
    one.start().ready()

    assert (
        remembered(one, session_id="ann") == before == [("user_message", "I am Ann."), ("agent_response", "Hello Ann.")]
    )
    assert asked(one, "Again", **{"X-Session-ID": "ann"}) == "Hello Ann."
    assert len(remembered(one)) == 4


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "AGENT_NAME must be set: the agent's name."),
        ({"AGENT_NAME": "one"}, "MODEL_API_URL must be set"),
        ({"AGENT_NAME": "one", "MODEL_API_URL": "http://m", "MODEL_API_KEY": "s3cret"}, "MODEL_NAME must be set"),
        ({"AGENT_NAME": "one", "DEBUG_MOCK_RESPONSES": "[]", "PEER_AGENTS": "two"}, "PEER_AGENT_TWO_CARD_URL must be"),
    ],
)
def test_a_setting_that_is_missing_is_one_sentence(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    with start("workers.agent", "--port", "0", folder=tmp_path, env=environment) as running:
        assert running.wait(20) == 2
        assert running.err.startswith(said)
        assert running.err.count("\n") == 1
        assert "s3cret" not in running.err
