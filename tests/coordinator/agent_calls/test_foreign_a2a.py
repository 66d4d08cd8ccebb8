"""Agents that speak A2A take steps in plans like our own: the protocol's SDK as the agent, and servers gone wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.helpers import new_data_part, new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import add_a2a_routes_to_fastapi, create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from fastapi import FastAPI, Request, Response

from coordinator.agent_calls import foreign_a2a, foreign_http
from shared.contracts import Registration
from shared.errors import AgentRefused
from tests.support.fakes import Suite, agent, eventually, serving
from tests.support.processes import Coordinator

PLAN = [{"id": "poem", "agent": "poet", "input": "Write about the moon."}]


class Executor(AgentExecutor):
    """Does what `how` says; `began` and `cancelled` is what came."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.began: list[RequestContext] = []
        self.cancelled: list[str] = []
        self.go = asyncio.Event()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        self.began.append(context)
        if self.how == "message":
            await event_queue.enqueue_event(new_text_message("The moon, as a message."))
            return
        task = context.current_task or new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work(updater.new_agent_message([new_text_part("Looking at the moon")]))
        said = updater.new_agent_message([new_text_part("The moon is down.")])
        if self.how == "hangs":
            await self.go.wait()
        if self.how in ("failed", "reject", "requires_input", "requires_auth"):
            await getattr(updater, self.how)(said)
            return
        if self.how == "data":
            await updater.add_artifact([new_data_part({"phase": 0.5})])
        elif self.how == "nothing":
            pass
        elif self.how == "mixed":
            await updater.add_artifact([new_text_part("The moon"), new_data_part({"phase": 0.5})])
        else:
            await updater.add_artifact([new_text_part("The moon ")], artifact_id="a")
            await updater.add_artifact([new_text_part("is there.")], artifact_id="a", append=True, last_chunk=True)
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.task_id is not None
        self.cancelled.append(context.task_id)
        await TaskUpdater(event_queue, context.task_id, context.context_id or "").cancel()


@dataclass
class Poet:
    """An agent made with the SDK; `calls` is every JSON-RPC request that came."""

    executor: Executor
    url: str
    calls: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.partition("//")[2]

    @property
    def methods(self) -> list[str]:
        return [call["method"] for call in self.calls]


class Poets:
    """Starts agents: `poet = await poets("text", streaming=True)`."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def __call__(self, how: str = "text", *, streaming: bool = True) -> Poet:
        poet = Poet(Executor(how), "")
        app = FastAPI()
        url = await self._stack.enter_async_context(serving(app, lifespan=False))
        poet.url = url
        card = AgentCard(
            name="poet",
            description="Writes poems.",
            version="1",
            supported_interfaces=[
                AgentInterface(url="grpc://x", protocol_binding="GRPC", protocol_version="1.0"),
                AgentInterface(url=f"{url}/rpc", protocol_binding="JSONRPC", protocol_version="1.0"),
            ],
            capabilities=AgentCapabilities(streaming=streaming),
            default_input_modes=["text/plain"],
            default_output_modes=["text/plain"],
            skills=[AgentSkill(id="write", name="write", description="Writes.", tags=["poem"])],
        )
        handler = DefaultRequestHandler(agent_executor=poet.executor, task_store=InMemoryTaskStore(), agent_card=card)
        self._stack.push_async_callback(handler.aclose)
        self._stack.callback(poet.executor.go.set)

        @app.middleware("http")
        async def listens(request: Request, go_on: Any) -> Response:
            if request.method == "POST":
                poet.calls.append(json.loads(await request.body()))
                poet.headers.append(dict(request.headers))
            return await go_on(request)

        add_a2a_routes_to_fastapi(
            app,
            agent_card_routes=create_agent_card_routes(card),
            jsonrpc_routes=create_jsonrpc_routes(handler, "/rpc"),
        )
        return poet


@pytest.fixture
async def poets() -> AsyncIterator[Poets]:
    async with AsyncExitStack() as stack:
        yield Poets(stack)


async def hired(suite: Suite, poet: Poet, **metadata: Any) -> Poet:
    await suite.register("poet", poet.url, "write", protocol="a2a", metadata=metadata)
    await suite.sees(poet.host, "healthy")
    return poet


# --- in a plan


@pytest.mark.parametrize("streaming", [True, False])
async def test_it_takes_a_step_between_our_own(coordinator: Suite, poets: Poets, streaming: bool) -> None:
    poet = await hired(coordinator, await poets(streaming=streaming), api_key="s3cret")
    await coordinator.add(agent("finder", "find"))
    await coordinator.add(agent("binder", "bind"))
    plan = [
        {"id": "facts", "agent": "finder"},
        {"id": "poem", "capability": "write", "needs": ["facts"], "input": {"lines": 4}},
        {"id": "book", "agent": "binder", "needs": ["poem"]},
    ]

    task = await coordinator.execute("A book about tides", plan=plan)

    assert task.status == "completed", task
    assert task.results[1].output == "The moon is there."
    assert task.results[2].output == {"by": "binder", "input": None, "upstream": ["poem"]}
    [call] = poet.calls
    assert call["method"] == ("SendStreamingMessage" if streaming else "SendMessage")
    message = call["params"]["message"]
    assert message["contextId"] == f"muster-{task.task_id}-poem"
    assert "A book about tides" in message["parts"][0]["text"]
    assert '<data from="step facts">\n{"by": "finder"' in message["parts"][0]["text"]
    [headers] = poet.headers
    assert (headers["a2a-version"], headers["authorization"]) == ("1.0", "Bearer s3cret")
    assert headers["idempotency-key"] == f"{task.task_id}/poem"


async def test_what_it_says_meanwhile_is_the_step_s_progress(coordinator: Suite, poets: Poets) -> None:
    await hired(coordinator, await poets())

    task = await coordinator.execute(plan=PLAN)

    assert "Looking at the moon" in (await coordinator.client.get(f"/tasks/{task.task_id}/events")).text


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("how", "output"),
    [
        ("message", "The moon, as a message."),
        ("data", {"phase": 0.5}),
        ("mixed", {"text": "The moon", "data": [{"phase": 0.5}]}),
    ],
)
async def test_every_form_of_a_result_is_an_output(
    coordinator: Suite, poets: Poets, how: str, output: Any, streaming: bool
) -> None:
    await hired(coordinator, await poets(how, streaming=streaming))

    assert (await coordinator.execute(plan=PLAN)).results[0].output == output


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("how", "type", "text"),
    [
        ("failed", "agent_error", "The moon is down."),
        ("reject", "agent_refused", "rejected the step: The moon is down."),
        ("requires_input", "input_required", "requires input during the step, which is not supported: The moon"),
        ("requires_auth", "auth_required", "requires authentication during the step"),
        ("nothing", "bad_response", "has no result"),
    ],
)
async def test_every_bad_end_has_its_name(
    coordinator: Suite, poets: Poets, how: str, type: str, text: str, streaming: bool
) -> None:
    """None of them is tried again: the same would come of it. A question that nobody can answer is withdrawn."""
    poet = await hired(coordinator, await poets(how, streaming=streaming))

    task = await coordinator.execute(plan=PLAN)

    error = task.results[0].error
    assert error is not None
    assert (error.type, len(poet.executor.began)) == (type, 1), error
    assert text in error.detail
    assert len(poet.executor.cancelled) == (1 if how.startswith("requires") else 0)


# --- deadline, cancel, death


@pytest.mark.parametrize("streaming", [True, False])
async def test_hanging_call_fails_its_step_and_is_canceled(coordinator: Suite, poets: Poets, streaming: bool) -> None:
    """Without a stream its task is found by its context."""
    poet = await hired(coordinator, await poets("hangs", streaming=streaming))
    await coordinator.add(agent("worker", "work"))
    plan = [{"id": "poem", "agent": "poet", "timeout_seconds": 0.4}, {"id": "work", "agent": "worker"}]

    task = await coordinator.execute(plan=plan)

    assert [s.status for s in task.results] == ["timed_out", "completed"]
    await eventually(lambda: poet.executor.cancelled)
    assert poet.methods[-1] == "CancelTask"
    assert ("ListTasks" in poet.methods) is not streaming


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_cancelled_task_is_cancelled_there(coordinator: Suite, poets: Poets, streaming: bool) -> None:
    poet = await hired(coordinator, await poets("hangs", streaming=streaming))
    task_id = await coordinator.begin(plan=PLAN)
    await eventually(lambda: poet.executor.began)

    await coordinator.client.post(f"/tasks/{task_id}/cancel")

    assert (await coordinator.ended(task_id)).status == "cancelled"
    await eventually(lambda: poet.executor.cancelled)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Coordinator]:
    with Coordinator(tmp_path) as one:
        yield one


@pytest.mark.parametrize("streaming", [True, False])
async def test_kill_9_in_the_middle_does_nothing_twice(real: Coordinator, poets: Poets, streaming: bool) -> None:
    """The next coordinator finds the task that the dead one has begun, and waits for it."""
    poet = await poets("hangs", streaming=streaming)
    await asyncio.to_thread(lambda: real.start().ready())
    async with httpx.AsyncClient(base_url=real.url, timeout=30) as client:
        body = {"name": "poet", "endpoint": poet.url, "capabilities": [], "protocol": "a2a"}
        assert (await client.post("/register_agent", json=body)).status_code == 201
        ask = {"task_description": "A poem", "plan": PLAN, "timeout_seconds": 60.0}
        task_id = (await client.post("/execute_task", json=ask, headers={"Prefer": "respond-async"})).json()["task_id"]
        await eventually(lambda: poet.executor.began)

        real.kill()
        await asyncio.to_thread(lambda: real.start().ready())
        await eventually(lambda: "GetTask" in poet.methods, seconds=20)
        poet.executor.go.set()

        async def done() -> Any:
            task = (await client.get(f"/tasks/{task_id}")).json()
            return task if task["status"] == "completed" else None

        task = await eventually(done, seconds=20)
    assert task["results"][0]["output"] == "The moon is there."
    assert len(poet.executor.began) == 1


# --- servers gone wrong


@dataclass
class Odd:
    """A server that answers every POST, and the card, as it is told."""

    answers: list[tuple[int, Any]]
    card: Any = None
    card_seconds: float = 0.0
    url: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.partition("//")[2]

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get(foreign_a2a.CARD)
        async def card() -> Response:
            await asyncio.sleep(self.card_seconds)
            return Response(json.dumps(self.card), 200 if self.card else 404, media_type="application/json")

        @app.post("/")
        async def rpc(request: Request) -> Response:
            self.calls.append(await request.json())
            status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(body, list):
                text = "".join(f"data: {json.dumps(piece)}\n\n" for piece in body)
                return Response(text, status, media_type="text/event-stream")
            text = body if isinstance(body, str) else json.dumps(body)
            return Response(text, status, headers={"retry-after": "86400"}, media_type="application/json")

        return app


def result(**of: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": of}


def error(code: int, message: str = "Not so.") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message, "data": []}}


def task_in(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "t1", "contextId": "c", "status": {"state": f"TASK_STATE_{state}"}} | more


MOON = {"artifacts": [{"artifactId": "a", "parts": [{"text": "The moon."}]}]}
WORKING = result(task=task_in("WORKING"))
LOOKED_AT = {"jsonrpc": "2.0", "id": 1, "result": task_in("WORKING")}


@pytest.fixture
async def odd() -> AsyncIterator[Odd]:
    one = Odd([])
    async with serving(one.app(), lifespan=False) as url:
        one.url = url
        yield one


@pytest.mark.parametrize(
    ("answers", "type", "text"),
    [
        ([(200, error(-32603))], "agent_error", "Not so. (-32603)"),
        ([(200, error(-32602))], "agent_refused", "Not so. (-32602)"),
        ([(200, error(-32009))], "agent_refused", "Not so. (-32009)"),
        ([(400, error(-32600))], "agent_refused", "HTTP 400: Not so. (-32600)"),
        ([(500, "Oh")], "agent_error", "HTTP 500: Oh"),
        ([(429, "")], "agent_busy", "HTTP 429"),
        ([(503, "")], "agent_busy", "HTTP 503"),
        ([(404, {"detail": "Not Found"})], "agent_refused", "HTTP 404: Not Found"),
        ([(302, "")], "bad_response", "redirect"),
        ([(200, "<html>")], "bad_response", "not JSON-RPC"),
        ([(200, "[]")], "bad_response", "no result"),
        ([(200, {"jsonrpc": "2.0", "id": 1, "result": "done"})], "bad_response", "no result"),
        ([(200, result(surprise={}))], "bad_response", "it has: surprise"),
        ([(200, result(task={"status": {}}))], "bad_response", "without an id"),
        ([(200, result(task={"id": "t1"}))], "bad_response", "no status"),
        ([(200, result(task=task_in("DANCING")))], "bad_response", "DANCING"),
        ([(200, result(task=task_in("CANCELED")))], "agent_lost", "cancelled the step"),
        ([(200, result(task=task_in("COMPLETED", artifacts=["odd"])))], "bad_response", "not an object"),
        ([(200, [])], "agent_lost", "without a result"),
        ([(200, WORKING), (200, error(-32001))], "agent_lost", "Not so. (-32001)"),
    ],
)
async def test_wrong_answer_fails_its_step_with_the_reason(
    coordinator: Suite, odd: Odd, answers: list[tuple[int, Any]], type: str, text: str
) -> None:
    """A wrong answer fails its step and says what was wrong."""
    odd.answers = answers
    await coordinator.register("poet", odd.url, "write", protocol="a2a")
    await coordinator.sees(odd.host, "healthy")

    task = await coordinator.execute(plan=PLAN, timeout_seconds=20.0)

    found = task.results[0].error
    assert found is not None
    assert found.type == type, found
    assert text in found.detail


async def test_non_blocking_agent_is_polled_until_done(coordinator: Suite, odd: Odd) -> None:
    """Also one that shows no card: it is asked at its endpoint."""
    odd.answers = [
        (200, WORKING),
        (200, LOOKED_AT),
        (200, {"jsonrpc": "2.0", "id": 1, "result": task_in("COMPLETED", **MOON)}),
    ]
    await coordinator.register("poet", odd.url, "write", protocol="a2a")
    await coordinator.sees(odd.host, "healthy")

    task = await coordinator.execute(plan=PLAN)

    assert task.results[0].output == "The moon."
    assert [c["method"] for c in odd.calls] == ["SendMessage", "GetTask", "GetTask"]


async def test_interrupted_step_leaves_its_task_to_the_restart(tmp_path: Path, odd: Odd) -> None:
    """It was cancelled there when the coordinator was restarted, and asked for again."""
    odd.answers = [(200, WORKING), (200, LOOKED_AT)]
    journal = {"database_url": f"sqlite:///{tmp_path}/muster.db"}
    async with Suite(**journal) as first:
        await first.register("poet", odd.url, "write", protocol="a2a")
        task_id = await first.begin(plan=PLAN)
        await eventually(lambda: len(odd.calls) > 1)
        await first.services.dispatcher.close()
        await asyncio.sleep(0.1)

    odd.answers = [
        (200, result(tasks=[task_in("WORKING")])),
        (200, {"jsonrpc": "2.0", "id": 1, "result": task_in("COMPLETED", **MOON)}),
    ]
    async with Suite(**journal) as second:
        assert (await second.ended(task_id)).results[0].output == "The moon."
    methods = [c["method"] for c in odd.calls]
    assert (methods.count("SendMessage"), methods.count("CancelTask")) == (1, 0)


async def test_overdue_task_is_canceled_after_the_restart(tmp_path: Path, odd: Odd) -> None:
    """Nobody looks for it any more, and it would work on."""
    odd.answers = [(200, WORKING), (200, LOOKED_AT)]
    journal = {"database_url": f"sqlite:///{tmp_path}/muster.db"}
    async with Suite(**journal) as first:
        await first.register("poet", odd.url, "write", protocol="a2a")
        task_id = await first.begin(plan=PLAN, timeout_seconds=1.0)
        await eventually(lambda: len(odd.calls) > 1)
        await first.services.dispatcher.close()
    await asyncio.sleep(1.0)

    odd.answers = [(200, result(tasks=[task_in("WORKING")]))]
    async with Suite(**journal) as second:
        assert (await second.ended(task_id)).status == "timed_out"
        await eventually(lambda: odd.calls[-1]["method"] == "CancelTask")

    assert odd.calls[-1]["params"] == {"id": "t1"}


async def test_stream_that_ends_early_is_followed_by_polling(coordinator: Suite, odd: Odd) -> None:
    """A stream that ends too early is followed by looking."""
    odd.answers = [
        (200, [WORKING, result(statusUpdate={"taskId": "t1", "status": {"state": "TASK_STATE_WORKING"}})]),
        (200, {"jsonrpc": "2.0", "id": 1, "result": task_in("COMPLETED", **MOON)}),
    ]
    await coordinator.register("poet", odd.url, "write", protocol="a2a")
    await coordinator.sees(odd.host, "healthy")

    assert (await coordinator.execute(plan=PLAN)).results[0].output == "The moon."


async def test_agent_that_cannot_list_tasks_is_asked_again(coordinator: Suite, odd: Odd) -> None:
    """An agent that cannot list its tasks is asked again."""
    done = result(task=task_in("COMPLETED", **MOON))
    odd.answers = [(200, error(-32603)), (200, error(-32601)), (200, done)]
    await coordinator.register("poet", odd.url, "write", protocol="a2a")
    await coordinator.sees(odd.host, "healthy")

    assert (await coordinator.execute(plan=PLAN)).results[0].output == "The moon."
    assert [c["method"] for c in odd.calls] == ["SendMessage", "ListTasks", "SendMessage"]


async def test_missing_card_is_not_waited_for(coordinator: Suite, odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs seconds, not the step's whole time, and nothing has been begun: another instance may be asked."""
    monkeypatch.setattr(foreign_http, "CARD_SECONDS", 0.1)
    odd.card_seconds = 60.0
    await coordinator.register("poet", odd.url, "write", protocol="a2a")
    await coordinator.sees(odd.host, "healthy")

    found = (await coordinator.execute(plan=PLAN, timeout_seconds=4.0)).results[0].error

    assert found is not None
    assert (found.type, found.detail) == ("agent_unreachable", "The agent's card did not arrive within 0.1 s.")
    assert odd.calls == []


async def test_moved_agent_is_found_by_its_new_card(coordinator: Suite, odd: Odd, poets: Poets) -> None:
    """A card is believed for a while, but not after it has led nowhere."""
    poet = await poets()
    odd.answers = [(404, "")]
    odd.card = card(odd.url)
    await coordinator.register("poet", odd.url, "write", protocol="a2a")
    await coordinator.sees(odd.host, "healthy")

    before = await coordinator.execute(plan=PLAN)
    odd.card = card(f"{poet.url}/rpc")
    after = await coordinator.execute(plan=PLAN)

    assert before.status == "failed"
    assert after.results[0].output == "The moon is there."


async def test_card_without_json_rpc_is_refused_by_name(coordinator: Suite, odd: Odd) -> None:
    """A card without JSON RPC of A2A 1 is refused by name."""
    odd.card = {
        "supportedInterfaces": [
            {"url": "grpc://x", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
            {"url": odd.url, "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
        ]
    }
    await coordinator.register("poet", odd.url, "write", protocol="a2a")
    await coordinator.sees(odd.host, "healthy")

    found = (await coordinator.execute(plan=PLAN)).results[0].error

    assert found is not None
    assert found.type == "agent_refused"
    assert "it offers: GRPC 1.0, JSONRPC 0.3" in found.detail
    assert odd.calls == []


def card(url: str, **more: Any) -> dict[str, Any]:
    return {"supportedInterfaces": [{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0", **more}]}


def test_card_that_says_localhost_means_its_address() -> None:
    """A card that says localhost means the address it came from."""
    known = Registration(name="x", endpoint="http://x:8000", capabilities=[], metadata={"api_key": "k"})

    found = foreign_a2a.choose_interface(card("http://localhost:9999/a2a"), known)

    assert (found.url, found.headers) == ("http://x:8000/a2a", {"Authorization": "Bearer k"})


def test_key_is_not_sent_where_a_card_points() -> None:
    """A key is not sent where a card points to."""
    known = Registration(name="x", endpoint="http://x:8000", capabilities=[], metadata={"api_key": "k"})

    found = foreign_a2a.choose_interface(card("http://y:8000/a2a", tenant="t1"), known)

    assert (found.url, found.headers) == ("http://y:8000/a2a", {})
    assert json.loads(foreign_a2a.build_get(found, "t").body)["params"] == {"tenant": "t1", "id": "t"}


@pytest.mark.parametrize("odd_card", [{}, [], {"supportedInterfaces": "x"}, {"supportedInterfaces": [1, {}]}])
def test_a_card_that_is_none_is_refused(odd_card: Any) -> None:
    with pytest.raises(AgentRefused, match="no JSON-RPC interface"):
        foreign_a2a.choose_interface(odd_card, Registration(name="x", endpoint="http://x", capabilities=[]))
