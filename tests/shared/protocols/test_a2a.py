"""A2A on workers and the coordinator, as the SDK's own client sees it: tasks, streams, hooks, restarts, bad input."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client import Client, ClientConfig, create_client
from a2a.types.a2a_pb2 import (
    AuthenticationInfo,
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import (
    A2AError,
    ContentTypeNotSupportedError,
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from fastapi import FastAPI, Request, Response
from google.protobuf.json_format import MessageToDict, ParseDict

from load.processes.ports import free_port
from shared.agent import Context, Reply
from shared.contracts import StepRequest
from shared.conversation import Ask, Note, Piece, Skill
from shared.errors import WorkerFault
from shared.limits.envelope import HOP, Envelope, encode_hop
from shared.protocols.a2a import mount as a2a
from shared.protocols.mounting import Host
from shared.server.app import make_service
from shared.worker.app import create_worker_app
from tests.support import fakes
from tests.support.fakes import Held, Suite, agent, eventually, serving, worker_settings
from tests.support.processes import Coordinator, Disk

BINDINGS = ("JSONRPC", "HTTP+JSON")
VERSION = {"A2A-Version": "1.0"}


@asynccontextmanager
async def worker(run: Any = None, *, folder: Path | None = None, **settings: Any) -> AsyncIterator[str]:
    """A worker behind a real port, without a coordinator; its URL."""
    one = agent("echo", "echoing", run)
    app = create_worker_app(one, settings=worker_settings(**settings), state_dir=folder)
    async with serving(app) as url:
        yield url


@asynccontextmanager
async def client(
    url: str, *, binding: str = "JSONRPC", streaming: bool = True, headers: dict[str, str] | None = None
) -> AsyncIterator[Client]:
    """The SDK's client, with what the card says."""
    async with httpx.AsyncClient(timeout=30, headers=headers) as http:
        config = ClientConfig(httpx_client=http, supported_protocol_bindings=[binding], streaming=streaming)
        yield await create_client(url, client_config=config)


def question(text: str = "Why?", *, now: bool = False, hook: str = "", **more: Any) -> SendMessageRequest:
    """A message; `now` returns at once, `hook` is told what happens."""
    configuration = SendMessageConfiguration(return_immediately=now)
    if hook:
        authentication = AuthenticationInfo(scheme="Bearer", credentials="secret")
        told = TaskPushNotificationConfig(url=hook, token="token", authentication=authentication)
        configuration.task_push_notification_config.CopyFrom(told)
    fields = {"message_id": "m1", "role": Role.ROLE_USER, "parts": [Part(text=text)]} | more
    return SendMessageRequest(message=Message(**fields), configuration=configuration)


async def heard(stream: AsyncIterator[StreamResponse]) -> list[StreamResponse]:
    return [event async for event in stream]


async def sent(one: Client, request: SendMessageRequest) -> Task:
    """The task after a message that is not streamed."""
    (answer,) = await heard(one.send_message(request))
    return answer.task


async def got(one: Client, task_id: str) -> Task:
    return await one.get_task(GetTaskRequest(id=task_id))


async def ended(one: Client, task_id: str) -> Task:
    async def seen() -> Task | None:
        task = await got(one, task_id)
        return task if task.status.state > TaskState.TASK_STATE_WORKING else None

    return await eventually(seen, seconds=10, why="the task did not end")


def texts(task: Task) -> list[str]:
    return [part.text for artifact in task.artifacts for part in artifact.parts if part.HasField("text")]


def reason(task: Task) -> str:
    return task.status.message.parts[0].text


async def echoes(step: StepRequest, ctx: Context) -> Reply:
    return Reply(f"You said: {step.input}")


async def speaks(step: StepRequest, ctx: Context) -> Reply:
    await ctx.progress("Thinking", 0.5)
    await asyncio.sleep(0.02)
    for word in ("one ", "two ", "three"):
        await ctx.say(word)
        await asyncio.sleep(0.15)
    return Reply("one two three")


# --- the usual ------------------------------------------------------------------------------------


@pytest.mark.parametrize("binding", BINDINGS)
async def test_message_becomes_a_task_with_an_artifact(binding: str) -> None:
    """A message becomes a task with the answer as its artifact."""
    async with worker(echoes) as url, client(url, binding=binding, streaming=False) as one:
        task = await sent(one, question("Why?"))

        assert task.status.state == TaskState.TASK_STATE_COMPLETED
        assert texts(task) == ["You said: Why?"]
        assert MessageToDict(task.artifacts[0].metadata)["usage"]["calls"] == 0
        assert await got(one, task.id) == task


@pytest.mark.parametrize("binding", BINDINGS)
async def test_stream_begins_with_the_task_then_words(binding: str) -> None:
    """A stream begins with the task and carries notes and words as they come."""
    async with worker(speaks) as url, client(url, binding=binding) as one:
        events = await heard(one.send_message(question()))

        kinds = [event.WhichOneof("payload") for event in events]
        assert kinds[:2] == ["task", "status_update"]
        assert "Thinking" in [e.status_update.status.message.parts[0].text for e in events if _says(e)]
        chunks = [e.artifact_update for e in events if e.WhichOneof("payload") == "artifact_update"]
        assert len(chunks) >= 3
        assert "".join(part.text for c in chunks for part in c.artifact.parts) == "one two three"
        assert [c.append for c in chunks] == [False] + [True] * (len(chunks) - 1)
        assert [c.last_chunk for c in chunks][-1] is True
        assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
        stored = await got(one, events[0].task.id)
        assert texts(stored) == ["one two three"]


def _says(event: StreamResponse) -> bool:
    return event.WhichOneof("payload") == "status_update" and event.status_update.status.HasField("message")


async def test_structured_answer_comes_as_data_too() -> None:
    """An answer that is more than words comes as data too."""
    async with worker() as url, client(url, streaming=False) as one:
        data = Part()
        ParseDict({"data": {"depth": 3}}, data)

        task = await sent(one, question(parts=[Part(text="Look at"), data]))

        (found,) = [a for a in task.artifacts if a.artifact_id == "data"]
        assert MessageToDict(found.parts[0].data) == {"by": "echo", "input": 'Look at\n{"depth": 3}', "upstream": []}


async def test_coordinator_answers_with_the_report(suite: Suite) -> None:
    """The coordinator answers with the report of a task of its own."""
    async with serving(suite.app, lifespan=False) as url, client(url) as one:
        events = await heard(one.send_message(question("Why are there tides?")))

        task = await got(one, events[0].task.id)
        own = await suite.task(MessageToDict(task.artifacts[0].metadata)["muster_task_id"])
        assert own.result is not None
        assert [f"# Why are there tides?\n\n{said}" for said in texts(task)] == [own.result.report]
        notes = [m.parts[0].text for m in task.history if m.role == Role.ROLE_AGENT]
        assert "research finished" in notes


async def test_metadata_may_name_one_agent(suite: Suite) -> None:
    """The coordinator asks one agent where the metadata names it."""
    async with serving(suite.app, lifespan=False) as url, client(url, streaming=False) as one:
        task = await sent(one, question(metadata={"model": "researcher", "timeout_seconds": 20}))

        own = await suite.task(MessageToDict(task.artifacts[0].metadata)["muster_task_id"])
        assert [step.agent for step in own.results] == ["researcher"]
        assert (own.deadline - own.created_at).total_seconds() == pytest.approx(20)


async def test_two_tasks_run_at_once_and_are_told_apart() -> None:
    both = Held("done")
    async with worker(both) as url, client(url, streaming=False) as one:
        asked = [asyncio.create_task(sent(one, question(text))) for text in ("first", "second")]
        await eventually(lambda: len(both.began) == 2)
        both.let_go.set()

        tasks = await asyncio.gather(*asked)

        assert len({task.id for task in tasks}) == 2
        assert [task.history[0].parts[0].text for task in tasks] == ["first", "second"]


async def test_tasks_are_paged_latest_first_by_context() -> None:
    """Tasks are listed in pages the latest first and by context."""
    async with worker(echoes) as url, client(url, streaming=False) as one:
        made = [await sent(one, question(str(n), context_id="even" if n % 2 == 0 else "odd")) for n in range(5)]

        first = await one.list_tasks(ListTasksRequest(page_size=2))
        second = await one.list_tasks(ListTasksRequest(page_size=2, page_token=first.next_page_token))
        last = await one.list_tasks(ListTasksRequest(page_size=2, page_token=second.next_page_token))
        odd = await one.list_tasks(ListTasksRequest(context_id="odd", include_artifacts=True))
        open_ones = await one.list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_WORKING))

        listed = [task.id for page in (first, second, last) for task in page.tasks]
        assert listed == [task.id for task in reversed(made)]
        assert (first.total_size, last.next_page_token) == (5, "")
        assert [texts(task) for task in odd.tasks] == [["You said: 3"], ["You said: 1"]]
        assert [texts(task) for task in first.tasks] == [[], []]
        assert open_ones.total_size == 0


async def test_cancel_ends_the_work() -> None:
    held = Held()
    async with worker(held) as url, client(url, streaming=False) as one:
        task = await sent(one, question(now=True))
        await eventually(lambda: held.began)

        cancelled = await one.cancel_task(CancelTaskRequest(id=task.id))

        assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
        await eventually(lambda: held.cancelled)
        with pytest.raises(TaskNotCancelableError):
            await one.cancel_task(CancelTaskRequest(id=task.id))
        with pytest.raises(UnsupportedOperationError):
            await sent(one, question(task_id=task.id))


async def test_cancel_on_the_coordinator_cancels_its_task(coordinator: Suite) -> None:
    held = Held()
    await coordinator.add(agent("echo", "echoing", held))
    async with serving(coordinator.app, lifespan=False) as url, client(url, streaming=False) as one:
        task = await sent(one, question(now=True, metadata={"model": "echo"}))
        await eventually(lambda: held.began)

        await one.cancel_task(CancelTaskRequest(id=task.id))

        assert (await coordinator.ended(held.began[0].task_id)).status == "cancelled"


async def test_who_subscribes_later_hears_the_rest() -> None:
    held = Held("done")
    async with worker(held) as url, client(url) as one:
        async with client(url, streaming=False) as other:
            task = await sent(other, question(now=True))
        await eventually(lambda: held.began)
        stream = one.subscribe(SubscribeToTaskRequest(id=task.id))
        first = await anext(stream)
        held.let_go.set()

        rest = await heard(stream)

        assert first.task.id == task.id
        assert rest[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED


async def test_work_goes_on_after_the_caller_hangs_up() -> None:
    """The work goes on when the caller hangs up and can be asked for later."""
    held = Held("done")
    async with worker(held) as url:
        async with client(url) as one:
            stream = one.send_message(question())
            first = await anext(stream)
            await eventually(lambda: held.began)
            await stream.aclose()
        held.let_go.set()

        async with client(url) as one:
            assert texts(await ended(one, first.task.id)) == ["done"]


@pytest.mark.parametrize("streaming", [False, True])
async def test_repeat_under_its_key_joins_the_task(streaming: bool) -> None:
    """A repeat under the same key joins the task and gets its answer."""
    held = Held("done")
    async with worker(held) as url, client(url, streaming=streaming, headers={"Idempotency-Key": "k1"}) as one:
        both = [asyncio.create_task(heard(one.send_message(question()))) for _ in range(2)]
        await eventually(lambda: held.began)
        await asyncio.sleep(0.1)
        held.let_go.set()
        first, second = [_last(events) for events in await asyncio.gather(*both)]

        late = await heard(one.send_message(question(message_id="m2")))

        assert first == second == (late[0].task.id, TaskState.TASK_STATE_COMPLETED)
        assert texts(late[0].task) == ["done"]
        assert len(held.began) == 1
        with pytest.raises(InvalidParamsError, match="Idempotency-Key"):
            await heard(one.send_message(question("Something else")))


def _last(events: list[StreamResponse]) -> tuple[str, int]:
    kind = events[-1].WhichOneof("payload")
    task_id = events[-1].task.id if kind == "task" else events[-1].status_update.task_id
    return task_id, (events[-1].task if kind == "task" else events[-1].status_update).status.state


@pytest.mark.parametrize("streaming", [False, True])
async def test_working_task_refuses_another_message(streaming: bool) -> None:
    """A task at work refuses another message instead of losing it."""
    held = Held("Because.")
    async with worker(held) as url, client(url, streaming=False) as first, client(url, streaming=streaming) as one:
        task_id = (await sent(first, question(now=True))).id
        await eventually(lambda: held.began)

        with pytest.raises(UnsupportedOperationError, match="accepts no further messages"):
            await heard(one.send_message(question("And why?", message_id="m2", task_id=task_id)))
        held.let_go.set()

        assert texts(await ended(one, task_id)) == ["Because."]
        assert len(held.began) == 1


async def test_same_message_id_without_key_is_new() -> None:
    """The same message id without a key is another task."""
    async with worker(echoes) as url, client(url, streaming=False) as one:
        tasks = [await sent(one, question()) for _ in range(2)]

        assert len({task.id for task in tasks}) == 2


async def test_what_an_agent_may_spend_comes_with_its_question() -> None:
    seen: list[Envelope] = []

    async def run(step: StepRequest, ctx: Context) -> Reply:
        seen.append(ctx.envelope)
        return Reply("done")

    hop = Envelope(task="t", step="s", attempt=1, milliseconds=5_000, calls=3, depth=1, ancestry=("planner",))
    async with worker(run) as url:
        async with client(url, streaming=False, headers={HOP: encode_hop(hop)}) as one:
            await sent(one, question())
        async with client(url, streaming=False, headers={HOP: "[]"}) as one:
            with pytest.raises(InvalidParamsError, match=HOP):
                await sent(one, question())

    assert [(e.calls, e.depth, e.ancestry, e.milliseconds) for e in seen] == [(3, 1, ("planner",), 5_000)]


async def test_client_of_0_3_gets_its_own_format() -> None:
    """A client of 0.3 is answered in its own words."""
    async with worker(echoes) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        message = {"messageId": "m1", "role": "user", "kind": "message", "parts": [{"kind": "text", "text": "Why?"}]}
        body = {"jsonrpc": "2.0", "id": 7, "method": "message/send", "params": {"message": message}}

        answer = (await http.post("/", json=body)).json()

        assert answer["result"]["status"]["state"] == "completed"
        assert answer["result"]["artifacts"][0]["parts"][0]["text"] == "You said: Why?"


# --- the card -------------------------------------------------------------------------------------


async def test_card_states_the_address_or_public_url() -> None:
    """The card says where it was asked or what public URL says."""
    for public, expected in ((None, "http://echo.test:81"), ("https://agents.test/", "https://agents.test")):
        async with worker(public_url=public) as url, httpx.AsyncClient(base_url=url) as http:
            answer = await http.get("/.well-known/agent-card.json", headers={"Host": "echo.test:81"})

            card = answer.json()
            assert [i["url"] for i in card["supportedInterfaces"]] == [
                f"{expected}/a2a",
                f"{expected}/a2a/rest",
                f"{expected}/a2a",
            ]
            assert [i["protocolVersion"] for i in card["supportedInterfaces"]] == ["1.0", "1.0", "0.3"]
            assert (card["url"], card["preferredTransport"]) == (f"{expected}/a2a", "JSONRPC")
            assert [skill["id"] for skill in card["skills"]] == ["echoing"]
            assert "securitySchemes" not in card


@pytest.mark.parametrize("prefix", ["/agents/echo", "/ns/agent/echo"])
async def test_behind_the_gateway_a_card_leads_through_the_gateway(coordinator: Suite, prefix: str) -> None:
    """The agent's own address may be good inside the network only, as in containers."""
    async with worker(echoes, public_url="http://elsewhere") as own, serving(coordinator.app, lifespan=False) as url:
        await coordinator.register("echo", own)
        await coordinator.sees(own.partition("//")[2], "healthy")
        for binding in BINDINGS:
            async with client(url + prefix, binding=binding, streaming=False) as one:
                assert texts(await sent(one, question())) == ["You said: Why?"]
        async with httpx.AsyncClient(base_url=url + prefix) as http:
            kaos = await http.get("/.well-known/agent", headers={"Muster-Base": "http://forged"})

    assert kaos.json()["url"] == url + prefix


async def test_the_card_waits_for_no_body() -> None:
    """It is open without a key: who sends it 2 MB, or half of that, must not have them held."""
    async with worker(echoes) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(b"GET /.well-known/agent-card.json HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf")
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_card_is_cached_without_fields_for_1_0() -> None:
    """The card is cached by its tag and leaves old fields out for who speaks 1.0."""
    async with worker() as url, httpx.AsyncClient(base_url=url) as http:
        first = await http.get("/.well-known/agent-card.json")
        again = await http.get("/.well-known/agent-card.json", headers={"If-None-Match": first.headers["etag"]})
        new = await http.get("/.well-known/agent-card.json", headers=VERSION)

        assert (again.status_code, again.content) == (304, b"")
        assert first.headers["last-modified"] == again.headers["last-modified"]
        assert "max-age" in first.headers["cache-control"]
        assert first.headers["vary"] == "A2A-Version, Muster-Base"
        assert "url" not in new.json()


async def test_with_a_key_only_the_card_is_open(network: fakes.Network) -> None:
    """With a key the card is open and says so and the rest is closed."""
    async with Suite(network, api_key="key") as suite, serving(suite.app, lifespan=False) as url:
        async with httpx.AsyncClient(base_url=url) as http:
            card = (await http.get("/.well-known/agent-card.json")).json()
            refused = [await http.post(path, json={}) for path in ("/", "/a2a", "/a2a/rest/message:send")]
        async with client(url, headers={"Authorization": "Bearer key"}) as one:
            listed = await one.list_tasks(ListTasksRequest())

        assert card["securitySchemes"]["bearer"]["httpAuthSecurityScheme"] == {"scheme": "bearer"}
        assert list(card["securityRequirements"][0]["schemes"]) == ["bearer"]
        assert [answer.status_code for answer in refused] == [401] * 3
        assert listed.total_size == 0


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "state"), [(None, TaskState.TASK_STATE_FAILED), ("bad_input", TaskState.TASK_STATE_REJECTED)]
)
async def test_a_fault_is_told_with_its_reason(type: str | None, state: TaskState) -> None:
    async def fails(step: StepRequest, ctx: Context) -> Reply:
        raise WorkerFault("The tide is out.", type=type)

    async with worker(fails) as url, client(url, streaming=False) as one:
        task = await sent(one, question())

        assert task.status.state == state
        assert reason(task) == "The tide is out."


async def test_a_bug_is_told_without_its_text() -> None:
    class Broken:
        name, description, version = "broken", "Breaks.", "1"

        def skills(self) -> list[Skill]:
            return []

        def models(self) -> list[str]:
            return []

        async def answer(self, ask: Ask) -> AsyncGenerator[Piece, None]:
            yield Note("Beginning")
            raise ValueError("the password is 1234")

    app = make_service(name="broken", version="1")
    host = Host(app=app, face=Broken())
    a2a.mount(host)
    async with serving(app) as url, client(url) as one:
        events = await heard(one.send_message(question()))

        task = await got(one, events[0].task.id)
        assert task.status.state == TaskState.TASK_STATE_FAILED
        assert "1234" not in str(events) + str(task)
        assert "Internal error" in reason(task)


async def test_a_full_worker_rejects_and_names_why() -> None:
    held = Held()
    async with worker(held, max_concurrency=1) as url, client(url, streaming=False) as one:
        await sent(one, question(now=True))
        await eventually(lambda: held.began)

        task = await sent(one, question())

        assert task.status.state == TaskState.TASK_STATE_REJECTED
        assert "1 of 1 steps are running" in reason(task)
        held.let_go.set()


async def test_an_unknown_agent_is_rejected_by_name(suite: Suite) -> None:
    async with serving(suite.app, lifespan=False) as url, client(url, streaming=False) as one:
        task = await sent(one, question(metadata={"model": "nobody"}))

        assert task.status.state == TaskState.TASK_STATE_REJECTED
        assert "'nobody'" in reason(task)


@pytest.mark.parametrize(
    ("request_", "error", "named"),
    [
        (question(parts=[Part(raw=b"x", media_type="image/png")]), ContentTypeNotSupportedError, "message.parts[0]"),
        (question(parts=[Part(text="a"), Part(url="http://x")]), ContentTypeNotSupportedError, "message.parts[1]"),
        (question("  "), InvalidParamsError, "message.parts"),
        (question(parts=[Part(text="a")] * 1_001), InvalidParamsError, "message.parts: must be at most 1,000"),
        (question(role=Role.ROLE_AGENT), InvalidParamsError, "message.role"),
        (question(metadata={"timeout_seconds": -1}), InvalidParamsError, "timeout_seconds"),
        (question(metadata={"timeout_seconds": "soon"}), InvalidParamsError, "timeout_seconds"),
        (question(metadata={"model": 7}), InvalidParamsError, "model"),
        (question(context_id="x" * 256), InvalidParamsError, "contextId"),
        (question(task_id="nothing"), TaskNotFoundError, "nothing"),
    ],
)
@pytest.mark.parametrize("binding", BINDINGS)
async def test_bad_message_is_refused_by_field_no_task(
    binding: str, request_: SendMessageRequest, error: type[A2AError], named: str
) -> None:
    """A bad message is refused by its field and leaves no task."""
    for streaming in (False, True):
        async with worker(echoes) as url, client(url, binding=binding, streaming=streaming) as one:
            with pytest.raises(error, match=named.replace("[", r"\[")):
                await heard(one.send_message(request_))

            assert (await one.list_tasks(ListTasksRequest())).total_size == 0


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"{", {}, -32700),
        (b"\xff", {}, -32700),
        (b'{"a": NaN}', {}, -32700),
        (b'"\\ud800"', {}, -32700),
        (b"[" * 100_000, {}, -32700),
        (b"[]", {}, -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "Nothing"}', {}, -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": 7}}', {}, -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {}}', {}, -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "x"}}', {"A2A-Version": ""}, -32009),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "x"}}', {"A2A-Version": "9"}, -32009),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "x"}}', {}, -32001),
        (b"<xml/>", {"Content-Type": "text/xml"}, -32005),
    ],
)
async def test_bad_json_rpc_has_its_code(
    body: bytes, headers: dict[str, str], code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Bad JSON RPC has its code and is no news."""
    async with worker() as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        for path in ("/", "/a2a", "/a2a/"):
            answer = await http.post(
                path, content=body, headers=VERSION | {"Content-Type": "application/json"} | headers
            )

            assert answer.status_code == 200
            assert answer.json()["error"]["code"] == code, answer.text
    assert [record.message for record in caplog.records if record.name.startswith("a2a")] == []


async def test_version_and_media_type_may_be_parameters() -> None:
    """The version may be a parameter and the media type is the one that was asked for."""
    async with worker() as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        plain = await http.get("/a2a/rest/tasks?A2A-Version=1.0")
        asked = await http.get("/a2a/rest/tasks", headers=VERSION | {"Accept": "application/a2a+json"})
        without = await http.get("/a2a/rest/tasks")
        wrong = await http.post(
            "/a2a/rest/message:send", content=b"x", headers=VERSION | {"Content-Type": "text/plain"}
        )
        broken = await http.post("/a2a/rest/message:send", content=b"{", headers=VERSION)

        assert (plain.status_code, plain.headers["content-type"]) == (200, "application/json")
        assert (asked.status_code, asked.headers["content-type"]) == (200, "application/a2a+json")
        assert without.status_code == 400
        assert without.json()["error"]["details"][0]["reason"] == "VERSION_NOT_SUPPORTED"
        assert (wrong.status_code, broken.status_code) == (415, 400)


async def test_a_page_that_nobody_gave_is_refused() -> None:
    async with worker() as url, client(url) as one:
        with pytest.raises(InvalidParamsError, match="pageToken"):
            await one.list_tasks(ListTasksRequest(page_token="bogus"))


async def test_a_body_that_is_too_large_is_refused(suite: Suite) -> None:
    async with serving(suite.app, lifespan=False) as url, httpx.AsyncClient(base_url=url) as http:

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(30):
                yield b"x" * 100_000

        answer = await http.post("/a2a", content=pieces(), headers=VERSION)

        assert answer.status_code == 413


async def test_megabyte_of_odd_text_survives() -> None:
    """A megabyte of odd text comes back as it was."""
    text = "None 'quoted' \"twice\"\n🌊 " * 40_000

    async with worker(echoes) as url, client(url, streaming=False) as one:
        task = await sent(one, question(text))

        assert texts(task) == [f"You said: {text}"]


# --- hooks ----------------------------------------------------------------------------------------


class Receiver:
    """A webhook that remembers what came; it takes `seconds` for each, and fails the first `failing`."""

    def __init__(self, *, seconds: float = 0.0, failing: int = 0) -> None:
        self.came: list[tuple[dict[str, str], dict[str, Any]]] = []
        self._seconds = seconds
        self._failing = failing
        self.app = FastAPI()
        self.app.add_api_route("/hook", self._take, methods=["POST"])

    async def _take(self, request: Request) -> Response:
        body = json.loads(await request.body())
        if self._failing > 0:
            self._failing -= 1
            return Response(status_code=500)
        self.came.append((dict(request.headers), body))
        await asyncio.sleep(self._seconds)
        return Response()

    def states(self) -> list[str]:
        found = [body.get("statusUpdate") or body.get("task") for _, body in self.came]
        return [one["status"]["state"] for one in found if one]


async def test_hook_gets_everything_in_order_with_credentials() -> None:
    """A hook is told everything in order with its credentials."""
    receiver = Receiver()
    async with serving(receiver.app, lifespan=False) as there, worker(echoes) as url:
        async with client(url, streaming=False) as one:
            task = await sent(one, question(hook=f"{there}/hook"))

            await eventually(lambda: receiver.states()[-1:] == ["TASK_STATE_COMPLETED"])
        assert receiver.states() == ["TASK_STATE_WORKING", "TASK_STATE_COMPLETED"]
        headers, body = receiver.came[0]
        assert (headers["authorization"], headers["x-a2a-notification-token"]) == ("Bearer secret", "token")
        assert body["task"]["id"] == task.id


async def test_a_slow_hook_slows_nobody() -> None:
    receiver = Receiver(seconds=30)
    async with (
        serving(receiver.app, lifespan=False) as there,
        worker(echoes) as url,
        client(url, streaming=False) as one,
    ):
        task = await asyncio.wait_for(sent(one, question(hook=f"{there}/hook")), 8)

        assert task.status.state == TaskState.TASK_STATE_COMPLETED
        await eventually(lambda: receiver.came)


async def test_a_hook_that_fails_is_told_again() -> None:
    receiver = Receiver(failing=1)
    async with serving(receiver.app, lifespan=False) as there, worker(echoes) as url:
        async with client(url, streaming=False) as one:
            await sent(one, question(hook=f"{there}/hook"))

            await eventually(lambda: receiver.states()[-1:] == ["TASK_STATE_COMPLETED"], seconds=10)
        assert receiver.states()[0] == "TASK_STATE_WORKING"


async def test_hook_gets_the_rest_after_a_restart(tmp_path: Path) -> None:
    """What a hook has not got is told after a restart."""
    receiver = Receiver()
    port = free_port()
    async with worker(echoes, folder=tmp_path) as url, client(url, streaming=False) as one:
        await sent(one, question(hook=f"http://127.0.0.1:{port}/hook"))

    async with serving(receiver.app, lifespan=False, port=port), worker(echoes, folder=tmp_path):
        await eventually(lambda: receiver.states()[-1:] == ["TASK_STATE_COMPLETED"], seconds=10)

    assert receiver.states() == ["TASK_STATE_WORKING", "TASK_STATE_COMPLETED"]


async def test_the_address_is_judged_again_when_it_is_called(
    coordinator: Suite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may lead anywhere: loopback hooks are for a coordinator that listens on loopback itself."""
    look_up = asyncio.BaseEventLoop.getaddrinfo
    monkeypatch.setattr(
        asyncio.BaseEventLoop,
        "getaddrinfo",
        lambda loop, host, *more, **named: look_up(loop, host.replace("hooks.test", "localhost"), *more, **named),
    )
    receiver = Receiver()
    async with (
        serving(receiver.app, lifespan=False) as there,
        serving(coordinator.app, lifespan=False) as url,
        client(url, streaming=False) as one,
    ):
        named, hook = (f"{there.replace('127.0.0.1', name)}/hook" for name in ("hooks.test", "localhost"))

        await sent(one, question(hook=named, metadata={"model": "nobody"}))
        await eventually(lambda: "push.given_up" in capsys.readouterr().out)
        assert receiver.came == []

        coordinator.app.address = "127.0.0.1"
        await sent(one, question(hook=hook, metadata={"model": "nobody"}))
        await eventually(lambda: receiver.states()[-1:] == ["TASK_STATE_REJECTED"])


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://metadata.google.internal/",
        "http://2852039166/",
        "ftp://example.com/",
        "http://xn--/",
        "nothing",
    ],
)
async def test_hook_at_a_bad_address_is_refused(url: str) -> None:
    """A hook at a bad address is refused when it is set."""
    held = Held()
    async with worker(held) as there, client(there, streaming=False) as one:
        task = await sent(one, question(now=True))
        with pytest.raises(InvalidParamsError, match="url"):
            await one.create_task_push_notification_config(TaskPushNotificationConfig(task_id=task.id, url=url))
        held.let_go.set()


async def test_private_hooks_are_refused_where_the_setting_says_so(suite: Suite) -> None:
    async with serving(suite.app, lifespan=False) as url, client(url, streaming=False) as one:
        with pytest.raises(InvalidParamsError, match=r"10\.0\.0\.1"):
            await sent(one, question(hook="http://10.0.0.1/hook"))


async def test_token_with_line_break_is_refused() -> None:
    """A token with a line break is refused and so is a seventeenth hook."""
    held = Held()
    async with worker(held) as there, client(there, streaming=False) as one:
        task = await sent(one, question(now=True))

        async def add(**more: str) -> None:
            hook = TaskPushNotificationConfig(task_id=task.id, url="http://127.0.0.1:9/hook", **more)
            await one.create_task_push_notification_config(hook)

        with pytest.raises(InvalidParamsError, match="token"):
            await add(token="a\nb")
        for number in range(16):
            await add(id=str(number))
        await add(id="3")
        with pytest.raises(InvalidParamsError, match="at most 16"):
            await add(id="16")
        held.let_go.set()


# --- restarts -------------------------------------------------------------------------------------


async def test_stopped_worker_continues_after_its_start(tmp_path: Path) -> None:
    """A worker that stops in the middle works on after its start."""
    held = Held()
    async with worker(held, folder=tmp_path) as url, client(url, streaming=False) as one:
        task = await sent(one, question(now=True))
        await eventually(lambda: held.began)

    async with worker(echoes, folder=tmp_path) as url, client(url, streaming=False) as one:
        assert texts(await ended(one, task.id)) == ["You said: Why?"]


async def test_killed_worker_continues_after_its_start(tmp_path: Path) -> None:
    """The files as they are in the middle of the work are what `kill -9` leaves."""
    held = Held()
    before, after = tmp_path / "before", tmp_path / "after"
    async with worker(held, folder=before) as url, client(url, streaming=False) as one:
        task = await sent(one, question(now=True))
        await eventually(lambda: held.began)
        shutil.copytree(before, after)
        held.let_go.set()

    async with worker(echoes, folder=after) as url, client(url) as one:
        stream = one.subscribe(SubscribeToTaskRequest(id=task.id))
        with contextlib.suppress(UnsupportedOperationError):  # it may have ended before
            await heard(stream)
        assert texts(await ended(one, task.id)) == ["You said: Why?"]


async def test_killed_coordinator_finishes_the_same_task(tmp_path: Path) -> None:
    """A coordinator killed in the middle finishes the very same task."""
    held = Held("done")
    with Coordinator(tmp_path) as coordinator:
        coordinator.start().ready()
        async with worker(held) as there, httpx.AsyncClient(base_url=coordinator.url) as http:
            body = {"name": "echo", "endpoint": there, "capabilities": ["echoing"]}
            assert (await http.post("/register_agent", json=body)).is_success
            async with client(coordinator.url, streaming=False) as one:
                asked = question(now=True, metadata={"model": "echo", "timeout_seconds": 60})
                task = await sent(one, asked)
                await eventually(lambda: held.began)

            coordinator.kill()
            coordinator.start().ready()
            held.let_go.set()
            async with client(coordinator.url) as one:
                after = await ended(one, task.id)

        assert texts(after) == ["done"]
        own = MessageToDict(after.artifacts[0].metadata)["muster_task_id"]
        assert {step.task_id for step in held.began} == {own}


async def test_cancel_after_start_ends_resumed_work(tmp_path: Path) -> None:
    """A cancel right after the start ends the work that the start takes up."""
    held = Held("done")
    with Coordinator(tmp_path) as coordinator:
        coordinator.start().ready()
        async with worker(held) as there, httpx.AsyncClient(base_url=coordinator.url, timeout=30) as http:
            body = {"name": "echo", "endpoint": there, "capabilities": ["echoing"]}
            assert (await http.post("/register_agent", json=body)).is_success
            async with client(coordinator.url, streaming=False) as one:
                task = await sent(one, question(now=True, metadata={"model": "echo", "timeout_seconds": 60}))
            await eventually(lambda: held.began)

            coordinator.kill()
            coordinator.start().ready()
            cancelled = await http.post(f"/a2a/rest/tasks/{task.id}:cancel", headers=VERSION, json={})

            assert cancelled.json()["status"]["state"] == "TASK_STATE_CANCELED"

            async def status() -> bool:
                own = await http.get(f"/tasks/{held.began[0].task_id}")
                return bool(own.json()["status"] == "cancelled")

            await eventually(status, seconds=10, why="the coordinator's own task goes on")


async def test_more_open_tasks_than_places_all_end(tmp_path: Path) -> None:
    """More open tasks than a worker has places all end after its start."""
    held = Held()
    async with worker(held, folder=tmp_path) as url, client(url, streaming=False) as one:
        tasks = [await sent(one, question(str(n), now=True)) for n in range(5)]
        await eventually(lambda: len(held.began) == 5)

    async with worker(echoes, folder=tmp_path, max_concurrency=1) as url, client(url, streaming=False) as one:
        assert [texts(await ended(one, t.id)) for t in tasks] == [[f"You said: {n}"] for n in range(5)]


async def test_a_stop_ends_streams_and_leaves_their_tasks_open(tmp_path: Path) -> None:
    held = Held("done")
    with Coordinator(tmp_path) as coordinator:
        coordinator.start().ready()
        async with worker(held) as there, httpx.AsyncClient(base_url=coordinator.url) as http:
            body = {"name": "echo", "endpoint": there, "capabilities": ["echoing"]}
            assert (await http.post("/register_agent", json=body)).is_success
            async with client(coordinator.url) as one:
                stream = one.send_message(question(metadata={"model": "echo", "timeout_seconds": 60}))
                task_id = (await anext(stream)).task.id
                await eventually(lambda: held.began)

                coordinator.terminate()
                rest = await heard(stream)
            assert await asyncio.to_thread(coordinator.process.wait, 8) is not None
            coordinator.start().ready()
            held.let_go.set()
            async with client(coordinator.url) as one:
                after = await ended(one, task_id)

        assert all(e.status_update.status.state == TaskState.TASK_STATE_WORKING for e in rest)
        assert texts(after) == ["done"]


async def test_full_disk_refuses_new_tasks_only(tmp_path: Path) -> None:
    """On a full disk new tasks are refused and taken ones end once there is room."""
    held = Held("done")
    with Disk(tmp_path / "disk", size="2m") as disk:
        async with worker(held, folder=disk.seen) as url, client(url, streaming=False) as one:
            task = await sent(one, question(now=True))
            await eventually(lambda: held.began)
            disk.fill()

            async def refused() -> bool:
                try:  # what the log has room for already may still be written
                    await sent(one, question("x" * 20_000, now=True))
                except A2AError as exc:
                    return "disk is full" in str(exc)
                return False

            await eventually(refused)
            held.let_go.set()
            await asyncio.sleep(0.3)

            disk.free()

            assert texts(await ended(one, task.id)) == ["done"]


# --- what it costs when nobody asks ---------------------------------------------------------------


def test_unused_a2a_does_not_load_the_sdk(tmp_path: Path) -> None:
    """A worker that nobody calls through A2A does not load the SDK."""
    code = """
import asyncio, sys
from pathlib import Path
from shared.worker.app import create_worker_app
from tests.support.fakes import agent, worker_settings
app = create_worker_app(agent("echo", "echoing"), settings=worker_settings(), state_dir=Path(sys.argv[1]))
async def main():
    async with app.router.lifespan_context(app):
        pass
asyncio.run(main())
print(sorted({name.partition(".")[0] for name in sys.modules} & {"a2a", "google", "sse_starlette"}))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
    assert not (tmp_path / "a2a.db").exists()
