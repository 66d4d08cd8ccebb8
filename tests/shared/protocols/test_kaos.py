"""KAOS's contract besides the chat: health, cards, memory with its filters, on a worker and on the coordinator."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.agent import Reply
from shared.conversation import Skill
from shared.errors import WorkerFault
from shared.memory.store import Memory
from shared.protocols.kaos import rpc as kaos_rpc
from shared.version import VERSION
from shared.worker.app import create_worker_app
from tests.support import fakes
from tests.support.fakes import Held, Network, Suite, agent, eventually, worker_settings

ADD = Skill("add", "add", "Adds numbers.", ("tool",), {"type": "object", "properties": {"a": {"type": "integer"}}})
HELPER = Skill("delegate_to_helper", "delegate_to_helper", "Asks the helper.", ("delegation",))


class Worker:
    """A worker without a coordinator, asked over HTTP; what it remembers is written directly."""

    def __init__(self, client: httpx.AsyncClient, memory: Memory) -> None:
        self.client, self.memory = client, memory

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def contents(self, **query: Any) -> list[Any]:
        return [event["content"] for event in (await self.get("/memory/events", **query))["events"]]


@contextlib.asynccontextmanager
async def worker(memory: Memory | None = None, settings: Any = None, **more: Any) -> AsyncIterator[Worker]:
    memory = memory or Memory("helper")
    app = create_worker_app(
        agent("helper", "help", memory=memory, **more),
        settings=worker_settings(**(settings or {})),
        inner=Network(),
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://w:8001") as c:
        yield Worker(c, memory)


@pytest.fixture
async def helper() -> AsyncIterator[Worker]:
    async with worker() as one:
        for number in range(5):
            await one.memory.record("ab"[number % 2], "user_message" if number else "error", number, durable=True)
        yield one


# --- discovery ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "status"), [("/health", "healthy"), ("/ready", "ready")])
async def test_health_says_what_kaos_asks(helper: Worker, path: str, status: str) -> None:
    body = await helper.get(path)

    assert (body["status"], body["name"]) == (status, "helper")
    assert isinstance(body["timestamp"], int)
    assert abs(body["timestamp"] - time.time()) < 5


async def test_the_card(helper: Worker) -> None:
    card = await helper.get("/.well-known/agent")

    assert list(card) == ["name", "description", "url", "skills", "capabilities"]
    assert card == {
        "name": "helper",
        "description": "Does help.",
        "url": "http://w:8001",
        "skills": [{"name": "help", "description": "Does help.", "inputSchema": {"type": "object"}}],
        "capabilities": ["message_processing", "task_execution"],
    }


async def test_the_newer_card(helper: Worker) -> None:
    card = await helper.get("/.well-known/agent.json")

    assert card["capabilities"] == {"streaming": True, "pushNotifications": False, "stateTransitionHistory": True}
    assert (card["name"], card["protocolVersion"], card["supportedProtocols"]) == ("helper", "0.3.0", ["jsonrpc"])
    assert card["version"] == VERSION


async def test_cards_and_tools_tell_what_an_agent_may_call() -> None:
    async with worker(skills=lambda: [ADD, HELPER]) as one:
        card, tools = await one.get("/.well-known/agent"), await one.get("/tools")

    assert card["capabilities"] == ["message_processing", "task_execution", "tool_execution", "task_delegation"]
    assert card["skills"][0] == {"name": "add", "description": "Adds numbers.", "inputSchema": ADD.input_schema}
    assert [tool["function"]["name"] for tool in tools["tools"]] == ["add", "delegate_to_helper"]
    assert tools["tools"][0] == {
        "type": "function",
        "function": {"name": "add", "description": "Adds numbers.", "parameters": ADD.input_schema},
    }


async def test_tools_that_are_down_are_still_a_capability() -> None:
    async with worker(skills=list, features=("tool_execution",)) as one:
        assert (await one.get("/.well-known/agent"))["capabilities"][-1] == "tool_execution"
        assert (await one.get("/tools"))["tools"] == []


async def test_the_public_address_is_shown() -> None:
    async with worker(settings={"public_url": "https://agents.example/helper/"}) as one:
        assert (await one.get("/.well-known/agent"))["url"] == "https://agents.example/helper"


# --- memory -------------------------------------------------------------------------------------------


async def test_events_look_as_kaos_has_them(helper: Worker) -> None:
    body = await helper.get("/memory/events", limit=1)

    [event] = body["events"]
    assert (body["agent"], body["total"]) == ("helper", 1)
    assert (event["event_type"], event["content"], event["metadata"]) == ("user_message", 4, {})
    assert event["session_id"] == "a"
    assert event["event_id"].startswith("event_")
    assert event["timestamp"].endswith("+00:00")


async def test_filters(helper: Worker) -> None:
    assert await helper.contents() == [0, 1, 2, 3, 4]
    assert await helper.contents(session_id="b") == [1, 3]
    assert await helper.contents(session_id="nobody") == []
    assert await helper.contents(event_type="error") == [0]
    assert await helper.contents(event_type="error", session_id="b") == []
    third = (await helper.get("/memory/events"))["events"][2]
    assert await helper.contents(since=third["timestamp"]) == [2, 3, 4]
    assert await helper.contents(since="2999-01-01T00:00:00Z") == []
    assert (await helper.get("/memory/sessions"))["sessions"] == ["a", "b"]
    assert (await helper.get("/memory/sessions", since="2999-01-01"))["sessions"] == []


async def test_a_since_whose_plus_was_not_escaped(helper: Worker) -> None:
    first = (await helper.get("/memory/events"))["events"][1]["timestamp"]

    answer = await helper.client.get(f"/memory/events?since={first}")

    assert [event["content"] for event in answer.json()["events"]] == [1, 2, 3, 4]


async def test_cursors_lead_to_the_beginning(helper: Worker) -> None:
    seen: list[Any] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = await helper.get("/memory/events", **query)
        seen = [event["content"] for event in page["events"]] + seen
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [0, 1, 2, 3, 4]

    page = await helper.get("/memory/sessions", limit=1)
    assert page["sessions"] == ["b"]
    assert (await helper.get("/memory/sessions", limit=1, cursor=page["next_cursor"]))["sessions"] == ["a"]


async def test_no_limit_is_all(helper: Worker) -> None:
    """As KAOS counts; but never more than 1,000."""
    assert await helper.contents(limit=0) == [0, 1, 2, 3, 4]
    assert await helper.contents(limit=1_000_000) == [0, 1, 2, 3, 4]
    for number in range(1_000):
        await helper.memory.record(f"s{number // 100}", "user_message", number)
    await helper.memory.record("s", "user_message", "last", durable=True)
    assert len(await helper.contents(limit=0)) == 1_000
    assert len(await helper.contents()) == 100


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "abc"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"cursor": "abc"}, "cursor"),
        ({"cursor": "9" * 30}, "cursor"),
        ({"since": "yesterday"}, "since"),
        ({"since": ""}, "since"),
    ],
)
@pytest.mark.parametrize("path", ["/memory/events", "/memory/sessions"])
async def test_a_wrong_parameter_is_named(helper: Worker, path: str, query: dict[str, str], field: str) -> None:
    answer = await helper.client.get(path, params=query)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/query/{field}"
    assert f"/query/{field}: " in answer.json()["detail"]


async def test_memory_that_is_off_answers_empty() -> None:
    async with worker(Memory("helper", enabled=False)) as one:
        assert (await one.get("/memory/events"))["events"] == []
        assert (await one.get("/memory/sessions"))["total"] == 0


# --- JSON-RPC ---------------------------------------------------------------------------------------------


def rpc(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


def message(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"type": "text", "text": text}]}


async def called(one: Any, method: str, **params: Any) -> dict[str, Any]:
    answer = await one.client.post("/", json=rpc(method, **params))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert (body["jsonrpc"], body["id"]) == ("2.0", 7)
    return body


@pytest.mark.parametrize("method", ["SendMessage", "tasks/send"])
async def test_kaos_message_is_a_task(method: str) -> None:
    """A message of KAOS is a task in its words."""
    async with worker(run=_greets) as one:
        sent = await called(
            one, method, message=message("It's None\n🌊"), contextId="s1", configuration={"blocking": True}
        )

        task = sent["result"]
        assert (task["sessionId"], task["status"]["state"]) == ("s1", "completed")
        assert task["history"] == [
            {"role": "user", "parts": [{"type": "text", "text": "It's None\n🌊"}]},
            {"role": "agent", "parts": [{"type": "text", "text": "Hello."}]},
        ]
        assert task["output"] == "Hello."
        for get in ("GetTask", "tasks/get"):
            assert (await called(one, get, id=task["id"]))["result"] == task
        for of in ("ListTasks", "tasks/list"):
            assert (await called(one, of))["result"] == {"tasks": [task], "total": 1}
        assert (await called(one, "CancelTask", id=task["id"]))["error"]["code"] == -32002
        assert await one.contents(session_id="s1") == ["It's None\n🌊", "Hello."]


@pytest.mark.parametrize("configuration", [{"blocking": False}, {"mode": "autonomous"}])
async def test_a_message_may_be_left_to_itself_and_cancelled(configuration: dict[str, Any]) -> None:
    held = Held()
    async with worker(run=held) as one:
        task = (await called(one, "SendMessage", message=message("Wait"), configuration=configuration))["result"]
        assert task["status"]["state"] in ("submitted", "working")
        await eventually(lambda: held.began)

        assert (await called(one, "tasks/cancel", id=task["id"]))["result"]["status"]["state"] == "canceled"
        await eventually(lambda: held.cancelled)


async def test_a_task_that_failed_says_why() -> None:
    async with worker(run=_fails) as one:
        task = (await called(one, "SendMessage", message=message("Smile")))["result"]

        assert task["status"]["state"] == "failed"
        assert "No, thank you." in task["status"]["message"]


@pytest.mark.parametrize("method", ["GetTask", "CancelTask"])
async def test_a_task_that_is_not_there(method: str) -> None:
    async with worker() as one:
        assert (await called(one, method, id="nobody"))["error"]["code"] == -32001
        assert (await called(one, "ListTasks"))["result"] == {"tasks": [], "total": 0}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "Dance", "params": {}}', -32601),
        (json.dumps(rpc("SendMessage", message={"parts": [{"type": 1}]})).encode(), -32602),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "SendMessage", "params": {"message": {"parts": "text"}}}', -32602),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "GetTask", "params": []}', -32009),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "GetTask", "params": {"id": {"a": 1}}}', -32602),
    ],
)
async def test_what_is_wrong_is_an_error_with_http_200(body: bytes, code: int) -> None:
    async with worker(run=_greets) as one:
        answer = await one.client.post("/", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == code


async def test_versioned_message_is_left_to_a2a() -> None:
    """What names a version of A2A is left to A2A."""
    async with worker(run=_greets) as one:
        sent = rpc("SendMessage", message={"role": "ROLE_USER", "messageId": "m", "parts": [{"text": "Hello"}]})
        answer = (await one.client.post("/", json=sent, headers={"A2A-Version": "1.0"})).json()

        assert answer["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
        task = {"id": answer["result"]["task"]["id"]}
        assert (await called(one, "GetTask", **task))["error"]["code"] == -32009
        assert (await called(one, "tasks/get", **task))["result"]["kind"] == "task"


async def test_the_list_is_whole_whatever_else_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kaos_rpc, "PAGE", 2)
    sent = rpc("SendMessage", message={"role": "ROLE_USER", "messageId": "m", "parts": [{"text": "Hello"}]})
    async with worker(run=_greets) as one:
        for _ in range(3):
            await one.client.post("/", json=sent, headers={"A2A-Version": "1.0"})
        nothing = await called(one, "tasks/list")
        ids = {(await called(one, "SendMessage", message=message("Hello")))["result"]["id"] for _ in range(3)}
        for _ in range(3):
            await one.client.post("/", json=sent, headers={"A2A-Version": "1.0"})

        assert nothing["result"] == {"tasks": [], "total": 0}
        assert {task["id"] for task in (await called(one, "ListTasks"))["result"]["tasks"]} == ids


async def _greets(step: Any, ctx: Any) -> Reply:
    return Reply("Hello.")


# --- on the coordinator ---------------------------------------------------------------------------------


async def test_the_coordinator_remembers_whom_it_asked(suite: Suite) -> None:
    """A task is a delegation to each of its agents, as KAOS has it; tasks of the own API are in the journal only."""
    await suite.execute()
    body = {"messages": [{"role": "user", "content": "Why are there tides?"}]}
    answer = await suite.client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text

    events = (await suite.client.get("/memory/events")).json()["events"]

    agents = ("researcher", "analyzer", "reporter")
    assert [e["event_type"] for e in events] == [
        "user_message",
        *["delegation_request", "delegation_response"] * 3,
        "agent_response",
    ]
    assert [e["content"]["agent"] for e in events[1:-1]] == [name for name in agents for _ in "qa"]
    assert events[-1]["content"] == answer.json()["choices"][0]["message"]["content"]
    assert len((await suite.client.get("/memory/sessions")).json()["sessions"]) == 1


async def test_the_coordinator_remembers_a_step_that_failed(coordinator: Suite) -> None:
    await coordinator.add(fakes.agent("sad", "sad", _fails))
    body = {"model": "sad", "messages": [{"role": "user", "content": "Smile"}]}
    assert (await coordinator.client.post("/v1/chat/completions", json=body)).status_code >= 500

    events = (await coordinator.client.get("/memory/events")).json()["events"]

    assert [e["event_type"] for e in events] == ["user_message", "error"]
    assert "No, thank you." in events[-1]["content"]


async def test_the_card_of_the_coordinator(suite: Suite) -> None:
    card = (await suite.client.get("/.well-known/agent")).json()

    assert card["name"] == "coordinator"
    assert card["capabilities"] == ["message_processing", "task_execution", "task_delegation"]
    assert {skill["name"] for skill in card["skills"]} >= {"researcher", "analyzer", "reporter"}


async def test_the_coordinators_memory_needs_its_key(network: Network) -> None:
    async with Suite(network, api_key="s3cret") as suite:
        for path in ("/memory/events", "/memory/sessions"):
            answer = await suite.client.get(path, headers={"Authorization": "Bearer wrong"})
            assert answer.status_code == 401
            assert (await suite.client.get(path)).status_code == 200


async def _fails(step: Any, ctx: Any) -> Any:
    raise WorkerFault("No, thank you.", type="bad_mood")
