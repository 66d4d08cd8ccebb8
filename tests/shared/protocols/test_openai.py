"""OpenAI's chat API as its own client sees it, strictly: whole, streamed, refused, interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from shared.agent import Agent, Context, Reply
from shared.contracts import StepRequest, Usage
from shared.errors import Invalid, WorkerFault
from shared.protocols.openai import request as openai_request
from shared.protocols.openai import response as openai_answer
from shared.protocols.openai import stream as openai_stream
from shared.server import bodies
from shared.worker import steps
from shared.worker.app import create_worker_app
from tests.support.fakes import MOON, Held, Network, Suite, agent, eventually, serving, worker_settings

USER = [{"role": "user", "content": "Why are there tides?"}]
BODY = {"model": "any", "messages": USER}


def client_of(url: str, **more: Any) -> AsyncOpenAI:
    """The real client, which checks every body against its types."""
    return AsyncOpenAI(
        base_url=f"{url}/v1", **{"api_key": "none", "max_retries": 0} | more, _strict_response_validation=True
    )


@contextlib.asynccontextmanager
async def asking(one: Agent, **more: Any) -> AsyncIterator[AsyncOpenAI]:
    """A client of a worker that is alone behind a real port."""
    app = create_worker_app(one, settings=worker_settings(), inner=Network())
    async with serving(app) as url, client_of(url, **more) as client:
        yield client


@contextlib.asynccontextmanager
async def asking_suite(suite: Suite, **more: Any) -> AsyncIterator[AsyncOpenAI]:
    """A client of a coordinator behind a real port."""
    async with serving(suite.app, lifespan=False) as url, client_of(url, **more) as client:
        yield client


@contextlib.asynccontextmanager
async def raw(one: Agent) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client of such a worker."""
    app = create_worker_app(one, settings=worker_settings(), inner=Network())
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def echoes(step: StepRequest, ctx: Context) -> Reply:
    """Answers with the question."""
    return Reply(step.input)


async def shows(step: StepRequest, ctx: Context) -> Reply:
    """Answers with the conversation as it was understood."""
    assert ctx.ask is not None
    turns = [[m.role, m.content, [vars(c) for c in m.tool_calls], m.tool_call_id] for m in ctx.ask.messages]
    return Reply(json.dumps({"turns": turns, "session": ctx.ask.session, "options": ctx.ask.options}))


ECHO = agent("echo", "work", echoes)


async def whole(client: AsyncOpenAI, content: Any = "Why?", **more: Any) -> ChatCompletion:
    return await client.chat.completions.create(
        **{"model": "any", "messages": [{"role": "user", "content": content}]} | more
    )


async def streamed(client: AsyncOpenAI, content: Any = "Why?", **more: Any) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(
        **{"model": "any", "messages": [{"role": "user", "content": content}], "stream": True} | more
    )
    return [chunk async for chunk in stream]


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


# --- an agent's answer -----------------------------------------------------------------------------


async def test_an_agent_answers_any_model_and_echoes_its_name() -> None:
    async with asking(ECHO) as client:
        answer = await whole(client, "one two three")

    assert answer.id.startswith("chatcmpl-")
    assert (answer.model, answer.choices[0].finish_reason) == ("any", "stop")
    assert answer.choices[0].message.content == "one two three"
    assert answer.choices[0].message.role == "assistant"


async def test_without_a_model_usage_counts_words() -> None:
    async with asking(ECHO) as client:
        usage = (await whole(client, "one two three")).usage

    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 3, 6)


async def test_what_a_model_counted_is_usage() -> None:
    async def thinks(step: StepRequest, ctx: Context) -> Reply:
        return Reply("so", usage=Usage(calls=1, input_tokens=70, output_tokens=5))

    async with asking(agent("thinker", "work", thinks)) as client:
        usage = (await whole(client)).usage

    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (70, 5, 75)


HARD = [
    "He said \"It's 'None'\"\n\r\n\ttwo  blanks \\ backslash",
    "None null true {}",
    "😀 👩\u200d👩\u200d👧 e\u0301 \u200b \u202e \u2028",
    "data: [DONE]\n\n: ping\n\nevent: x",
    "x " * 500_000 + "end",
]


@pytest.mark.parametrize("text", HARD, ids=["quotes", "none", "emoji", "sse", "1 MB"])
async def test_text_arrives_as_it_was_said_whole_and_streamed(text: str) -> None:
    async with asking(ECHO) as client:
        assert (await whole(client, text)).choices[0].message.content == text
        assert text_of(await streamed(client, text)) == text


async def test_the_conversation_is_understood() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": "Be long."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Zoë"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "seen"},
        {"role": "user", "content": "And?"},
    ]
    tools: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    async with asking(agent("shows", "work", shows)) as client:
        answer = await client.chat.completions.create(
            model="any",
            messages=messages,
            tools=tools,
            parallel_tool_calls=False,
            n=1,
            temperature=0.5,
            max_tokens=7,
            stop=["x"],
            seed=1,
            user="me",
            metadata={"a": "b"},
            store=False,
            response_format={"type": "text"},
            extra_body={"unheard_of": {"x": 1}, "session_id": "s-1"},
        )

    seen = json.loads(answer.choices[0].message.content)
    assert seen["turns"] == [
        ["system", "Be brief.", [], None],
        ["system", "Be long.", [], None],
        ["user", "a\nb", [], None],
        ["assistant", "", [{"id": "c1", "name": "look", "arguments": '{"at": 1}'}], None],
        ["tool", "seen", [], "c1"],
        ["user", "And?", [], None],
    ]
    assert seen["session"] == "s-1"
    assert seen["options"] == {
        "temperature": 0.5,
        "max_completion_tokens": 7,
        "stop": ["x"],
        "seed": 1,
        "response_format": {"type": "text"},
    }


async def test_delegating_peer_and_session_are_understood() -> None:
    """A delegating peer is heard and the header names the session."""
    body = {
        "session_id": "of the body",
        "messages": [{"role": "user", "content": "context"}, {"role": "task-delegation", "content": "the task"}],
    }
    async with raw(agent("shows", "work", shows)) as client:
        answer = (await client.post("/v1/chat/completions", json=body, headers={"X-Session-ID": "s-2"})).json()

    seen = json.loads(answer["choices"][0]["message"]["content"])
    assert answer["model"] == "shows"
    assert seen["session"] == "s-2"
    assert seen["turns"][-1][:2] == ["task-delegation", "the task"]


async def test_two_at_once_get_each_their_own() -> None:
    async def slowly(step: StepRequest, ctx: Context) -> Reply:
        for word in str(step.input).split():
            await ctx.say(word)
            await asyncio.sleep(0.01)
        return Reply(str(step.input).replace(" ", ""))

    async with asking(agent("slow", "work", slowly)) as client:
        answers = await asyncio.gather(*(streamed(client, f"{i} {i} {i}") for i in range(5)))

    assert [text_of(chunks) for chunks in answers] == [f"{i}" * 3 for i in range(5)]


# --- streams ---------------------------------------------------------------------------------------


async def test_words_arrive_when_the_agent_says_them() -> None:
    first, last = asyncio.Event(), asyncio.Event()

    async def says(step: StepRequest, ctx: Context) -> Reply:
        await ctx.say("The ")
        await first.wait()
        await ctx.say("moon.")
        await last.wait()
        return Reply("The moon.")

    async with asking(agent("says", "work", says)) as client:
        stream = await client.chat.completions.create(model="any", messages=USER, stream=True)
        chunks = [await anext(stream), await anext(stream)]
        first.set()
        chunks.append(await anext(stream))
        last.set()
        chunks += [chunk async for chunk in stream]

    assert [c.choices[0].delta.content for c in chunks] == ["", "The ", "moon.", None]
    assert [c.choices[0].delta.role for c in chunks] == ["assistant", None, None, None]
    assert [c.choices[0].finish_reason for c in chunks] == [None, None, None, "stop"]
    assert len({(c.id, c.created, c.model) for c in chunks}) == 1


async def test_usage_is_the_last_chunk_when_asked() -> None:
    """Usage is the last chunk where it is asked for."""
    async with asking(ECHO) as client:
        without = await streamed(client, "a b")
        chunks = await streamed(client, "a b", stream_options={"include_usage": True})

    assert all("usage" not in c.model_fields_set for c in without)
    assert [c.usage for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 4


async def test_while_nothing_comes_there_are_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_stream, "OPEN_SECONDS", 0.02)
    monkeypatch.setattr(openai_stream, "PING_SECONDS", 0.02)
    held = Held("done")
    asked = BODY | {"stream": True}
    async with (
        raw(agent("held", "work", held)) as client,
        client.stream("POST", "/v1/chat/completions", json=asked) as answer,
    ):
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        lines = answer.aiter_lines()
        while await anext(lines) != ": ping":
            pass
        held.let_go.set()
        rest = [line async for line in lines if line and not line.startswith(":")]

    assert [json.loads(line[6:])["choices"][0]["delta"] for line in rest[:-1]] == [{"content": "done"}, {}]
    assert rest[-1] == "data: [DONE]"


async def notes(step: StepRequest, ctx: Context) -> Reply:
    await ctx.progress("Looking\naround", 0.5)
    await asyncio.sleep(0.05)
    await ctx.say("Found.")
    await asyncio.sleep(0.05)
    await ctx.progress("Late")
    await asyncio.sleep(0.05)
    return Reply("Found.")


async def test_progress_is_content_only_where_it_is_asked_for() -> None:
    one = agent("notes", "work", notes)
    async with raw(one) as client:
        plain = (await client.post("/v1/chat/completions", json=BODY | {"stream": True})).text
    async with asking(one) as client:
        told = await streamed(client, extra_headers={"X-Muster-Progress": "content"})

    assert ": Looking around\n\n" in plain
    assert ": Late\n\n" in plain
    assert text_of(told) == "> Looking around\n\nFound."


# --- errors ----------------------------------------------------------------------------------------

IMAGE = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "http://x/y.png"}}]
SOUND = [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]


@pytest.mark.parametrize(
    ("body", "param", "why"),
    [
        (b"{", None, "not valid JSON"),
        (b"\xff", None, "not valid JSON"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', None, "not valid JSON"),
        (b"[]", None, "The body"),
        ({"model": "x"}, "messages", "messages are required"),
        ({"messages": []}, "messages", "messages are required"),
        ({"messages": "Why?"}, "messages", "list"),
        ({"messages": ["Why?"]}, "messages[0]", "should be an object"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages", "No user or task-delegation message found"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "required"),
        ({"messages": [*USER, {"role": "king", "content": "x"}]}, "messages[1].role", "system"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "must not be null"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "string or a list"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]", "object"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "text"),
        ({"messages": [{"role": "user", "content": IMAGE}]}, "messages[0].content[1].type", "image_url"),
        ({"messages": [{"role": "user", "content": SOUND}]}, "messages[0].content[0].type", "input_audio"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function", "required"),
        (BODY | {"n": 2}, "n", "n must be 1"),
        (BODY | {"n": 0}, "n", "n must be 1"),
        (BODY | {"modalities": ["text", "audio"]}, "modalities[1]", "answers are text"),
        (BODY | {"audio": {"voice": "alloy", "format": "mp3"}}, "audio", "answers are text"),
        (BODY | {"stream": "yes"}, "stream", "boolean"),
        (BODY | {"stream_options": []}, "stream_options", "should be an object"),
        (BODY | {"model": 7}, "model", "string"),
        (BODY | {"model": "x" * 256}, "model", "255"),
        (BODY | {"session_id": 7}, "session_id", "string"),
        (BODY | {"timeout_seconds": 0}, "timeout_seconds", "greater than 0"),
        (BODY | {"temperature": "hot"}, "temperature", "number"),
        (BODY | {"temperature": 2.5}, "temperature", "2"),
        (BODY | {"top_p": 0}, "top_p", "greater than 0"),
        (BODY | {"max_tokens": 0}, "max_tokens", "1"),
        (BODY | {"max_completion_tokens": "7"}, "max_completion_tokens", "integer"),
        (BODY | {"seed": 1.5}, "seed", "integer"),
        (BODY | {"stop": 7}, "stop", "list"),
        (BODY | {"stop": ["x"] * 17}, "stop", "16"),
        (BODY | {"stop": [7]}, "stop[0]", "string"),
        (BODY | {"response_format": "json"}, "response_format", "object"),
        (BODY | {"response_format": {"type": "xml"}}, "response_format.type", "json_object"),
        (BODY | {"response_format": {"type": "json_schema"}}, "response_format", "json_schema is wanted"),
    ],
)
async def test_a_wrong_body_is_400_and_names_the_field(body: Any, param: str | None, why: str) -> None:
    async with raw(ECHO) as client:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await client.post("/v1/chat/completions", content=content)

    said = answer.json()
    assert answer.status_code == 400
    assert said["error"].keys() == {"message", "type", "param", "code"}
    assert (said["error"]["type"], said["error"]["param"]) == ("invalid_request_error", param)
    assert why in said["error"]["message"]
    assert said["detail"] == said["error"]["message"]
    assert answer.headers["x-request-id"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "text", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "role", "content", "function", "name", "id"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from([*openai_request.ChatBody.model_fields, *openai_request.OPTIONS, "unheard_of"])
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
    optional={"content": JSON, "tool_calls": JSON, "tool_call_id": JSON},
)


@given(st.dictionaries(FIELDS, JSON), st.lists(TURN, max_size=3))
def test_whatever_comes_is_understood_or_refused(body: dict[str, Any], turns: list[Any]) -> None:
    """No body of any shape breaks anything."""
    for content in (body, body | {"messages": turns}):
        refused = None
        try:
            chat = bodies.parse(openai_request.ChatBody, json.dumps(content).encode())
            ask = openai_request.parse_ask(chat, session=None, key=None, traceparent=None)
        except Invalid as exc:
            refused = exc

        assert openai_answer.choose_status(refused) == 400 if refused else ask.messages


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Session-ID"])
async def test_a_header_that_cannot_be_kept_is_400(header: str) -> None:
    async with raw(ECHO) as client:
        for value in ("", "a b", "x" * 256):
            answer = await client.post("/v1/chat/completions", json=BODY, headers={header: value})

            assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
            assert header in answer.json()["detail"]


async def test_every_error_below_v1_is_openais(monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.worker import app as worker

    monkeypatch.setattr(worker, "MAX_STEP_BYTES", 1_000)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    async with raw(ECHO) as client:
        answers = [
            (await client.get("/v1/chat/completions"), 405),
            (await client.get("/v1/nothing"), 404),
            (await client.post("/v1/responses", json={}), 404),
            (await client.post("/v1/chat/completions", content=b" " * 2_000), 413),
            (await client.post("/v1/chat/completions", content=endless()), 413),
        ]
        elsewhere = await client.get("/nothing")

    for answer, status in answers:
        assert answer.status_code == status
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
        assert answer.json()["detail"] == answer.json()["error"]["message"]
        assert answer.headers["content-type"] == "application/json"
    assert answers[0][0].headers["allow"] == "POST"
    assert elsewhere.headers["content-type"] == "application/problem+json"


def fails(**why: Any) -> Agent:
    async def run(step: StepRequest, ctx: Context) -> Reply:
        raise WorkerFault("The well is dry.", **why)

    return agent("fails", "work", run)


async def test_question_the_agent_refuses_is_a_400() -> None:
    """A question that the agent finds wrong is the caller's mistake."""
    async with asking(fails(type="bad_input"), max_retries=2) as client:
        with pytest.raises(openai.BadRequestError, match="The well is dry") as caught:
            await whole(client)

    assert caught.value.code == "bad_input"


async def test_a_failure_is_told_once_and_not_tried_again() -> None:
    async with asking(fails(type="dry"), max_retries=2) as client:
        for ask in (whole, streamed):
            with pytest.raises(openai.InternalServerError, match="The well is dry") as caught:
                await ask(client)

            assert (caught.value.code, caught.value.type) == ("dry", "server_error")
            assert caught.value.response.headers["x-should-retry"] == "false"
            assert caught.value.request_id
            assert caught.value.request.headers["x-stainless-retry-count"] == "0"


async def test_failure_during_a_stream_is_an_event() -> None:
    """A failure in the middle of a stream is an error event."""

    async def breaks(step: StepRequest, ctx: Context) -> Reply:
        await ctx.say("So far ")
        await asyncio.sleep(0.05)
        raise WorkerFault("The well is dry.", type="dry")

    async with asking(agent("breaks", "work", breaks)) as client:
        stream = await client.chat.completions.create(model="any", messages=USER, stream=True)
        chunks = [await anext(stream), await anext(stream)]
        with pytest.raises(openai.APIError, match="The well is dry") as caught:
            await anext(stream)

    assert text_of(chunks) == "So far "
    assert caught.value.code == "dry"


async def test_time_that_is_over_is_504() -> None:
    async with asking(agent("held", "work", Held())) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await whole(client, extra_body={"timeout_seconds": 0.1})

    assert (caught.value.status_code, caught.value.code) == (504, "timeout")


async def test_full_agent_is_429_the_client_retries() -> None:
    """A full agent is 429 and the client comes back."""
    held = Held()
    async with asking(agent("narrow", "work", held, max_concurrency=1), max_retries=1) as client:
        first = asyncio.create_task(whole(client, "1"))
        await eventually(lambda: held.began)
        with pytest.raises(openai.RateLimitError) as caught:
            await client.with_options(max_retries=0).chat.completions.create(model="any", messages=USER)
        again = asyncio.create_task(whole(client, "2"))
        await asyncio.sleep(0.05)
        held.let_go.set()
        answers = await asyncio.gather(first, again)

    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert caught.value.response.headers["retry-after"] == "1"
    assert [a.choices[0].message.content for a in answers] == ["done", "done"]


# --- the client goes away --------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_the_work_ends_when_the_client_hangs_up(stream: bool) -> None:
    held = Held()

    async def says(step: StepRequest, ctx: Context) -> Reply:
        await ctx.say("So ")
        return await held(step, ctx)

    async with asking(agent("says", "work", says)) as client:
        if stream:
            answer = await client.chat.completions.create(model="any", messages=USER, stream=True)
            assert [(await anext(answer)).choices[0].delta.content for _ in range(2)] == ["", "So "]
            await answer.close()
        else:
            with pytest.raises(openai.APITimeoutError):
                await whole(client, timeout=0.2)

        await eventually(lambda: held.cancelled)


@pytest.mark.parametrize("stream", [False, True])
async def test_on_the_coordinator_the_task_is_cancelled(coordinator: Suite, stream: bool) -> None:
    held = Held()
    await coordinator.add(agent("held", "work", held))
    async with asking_suite(coordinator) as client:
        ask = asyncio.create_task(client.chat.completions.create(model="held", messages=USER, stream=stream))
        await eventually(lambda: held.began)
        if stream:
            await (await ask).close()
        else:
            ask.cancel()

        await eventually(lambda: held.cancelled)
        task = await coordinator.ended(held.began[0].task_id)
        assert task.status == "cancelled"


# --- a key ------------------------------------------------------------------------------------------


async def test_same_key_repeats_another_body_is_422() -> None:
    """The same key gives the same answer and another body is 422."""
    done: list[StepRequest] = []

    async def counts(step: StepRequest, ctx: Context) -> Reply:
        done.append(step)
        return Reply(f"answer {len(done)}")

    async with asking(agent("counts", "work", counts)) as client:
        keyed = {"extra_headers": {"Idempotency-Key": "k-1"}}
        answers = [await whole(client, "a", **keyed) for _ in range(2)]
        quoted = await whole(client, "a", extra_headers={"Idempotency-Key": '"k-1"'})
        chunks = await streamed(client, "a", **keyed)
        with pytest.raises(openai.UnprocessableEntityError, match="a different body"):
            await whole(client, "b", **keyed)

    assert [a.choices[0].message.content for a in (*answers, quoted)] == ["answer 1"] * 3
    assert text_of(chunks) == "answer 1"
    assert len(done) == 1


async def test_return_with_the_key_finds_the_work() -> None:
    """Who comes back with the key finds the work going on."""
    held = Held("patience")
    keyed = {"extra_headers": {"Idempotency-Key": "k-1"}}
    async with asking(agent("held", "work", held)) as client:
        with pytest.raises(openai.APITimeoutError):
            await whole(client, timeout=0.2, **keyed)
        again = asyncio.create_task(whole(client, **keyed))
        await asyncio.sleep(0.05)
        held.let_go.set()

        assert (await again).choices[0].message.content == "patience"
    assert len(held.began) == 1


async def test_only_the_latest_keys_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.worker import chat as face

    monkeypatch.setattr(face, "KEPT_RESULTS", 2)
    monkeypatch.setattr(steps, "KEPT_RESULTS", 2)
    async with asking(ECHO) as client:
        for key in ("k-1", "k-2", "k-3"):
            await whole(client, "a", extra_headers={"Idempotency-Key": key})

        assert (await whole(client, "b", extra_headers={"Idempotency-Key": "k-1"})).choices[0].message.content == "b"


# --- the coordinator -------------------------------------------------------------------------------


async def test_chat_with_the_coordinator_is_a_task(suite: Suite) -> None:
    """A chat with the coordinator is a task whose report is the answer."""
    async with asking_suite(suite) as client:
        answer = await client.chat.completions.with_raw_response.create(model="coordinator", messages=USER)
        chunks = await streamed(client, model="coordinator", messages=USER, stream_options={"include_usage": True})

    task = await suite.task(answer.headers["location"].rpartition("/")[2])
    assert task.status == "completed"
    said = answer.parse().choices[0].message.content
    assert said.startswith(MOON)  # without a title, which the question is
    assert task.result.report == f"# Why are there tides?\n\n{said}"
    assert text_of(chunks) == said
    assert len(chunks) > 4
    usage = chunks[-1].usage
    assert usage.prompt_tokens + usage.completion_tokens == usage.total_tokens > 4


async def test_an_agents_name_is_a_model_of_the_coordinator(suite: Suite) -> None:
    long = "x" * 1_000_000
    await suite.add(agent("parrot", "repeat", echoes))
    async with asking_suite(suite) as client:
        answer = await client.chat.completions.create(model="parrot", messages=[{"role": "user", "content": long}])
        names = [m.id async for m in client.models.list()]
        one = await client.models.retrieve("parrot")

    assert answer.choices[0].message.content == long
    assert names == ["coordinator", "analyzer", "parrot", "reporter", "researcher"]
    assert (one.id, one.object, one.owned_by) == ("parrot", "model", "muster")


async def test_an_unknown_model_is_404(suite: Suite) -> None:
    async with asking_suite(suite) as client:
        calls = (
            client.chat.completions.create(model="gpt-9", messages=USER),
            client.chat.completions.create(model="gpt-9", messages=USER, stream=True),
            client.models.retrieve("gpt/9"),
        )
        for call in calls:
            with pytest.raises(openai.NotFoundError, match=r"Available: coordinator, analyzer") as caught:
                await call

            assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("text", ["", "  ", "x" * 100_001])
async def test_message_that_is_no_task_is_400(suite: Suite, text: str) -> None:
    """What is no task is 400 and names the messages."""
    async with asking_suite(suite) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="coordinator", messages=[{"role": "user", "content": text}])

    assert caught.value.param == "messages"


async def test_failed_task_explains_and_is_not_retried(coordinator: Suite) -> None:
    """A task that fails says why and is not tried again."""
    await coordinator.add(fails(type="dry"))
    async with asking_suite(coordinator, max_retries=2) as client:
        with pytest.raises(openai.InternalServerError, match="The well is dry") as caught:
            await client.chat.completions.create(model="fails", messages=USER)

    assert caught.value.code == "task_failed"
    assert caught.value.response.headers["location"].startswith("/tasks/")
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"
    assert len((await coordinator.client.get("/tasks")).json()["tasks"]) == 1


async def test_a_key_makes_one_task_of_many_calls(suite: Suite) -> None:
    async with asking_suite(suite) as client:
        keyed = {"model": "coordinator", "messages": USER, "extra_headers": {"Idempotency-Key": "k"}}
        await asyncio.gather(*(client.chat.completions.create(**keyed) for _ in range(3)))
        with pytest.raises(openai.UnprocessableEntityError, match="a different body"):
            await client.chat.completions.create(**keyed | {"messages": [{"role": "user", "content": "Other?"}]})

    assert len((await suite.client.get("/tasks")).json()["tasks"]) == 1


async def test_task_with_a_key_outlives_its_client(coordinator: Suite) -> None:
    """A task that has a key goes on without its client."""
    held = Held("patience")
    await coordinator.add(agent("held", "work", held))
    keyed: Any = {"model": "held", "messages": USER, "extra_headers": {"Idempotency-Key": "k"}}
    async with asking_suite(coordinator) as client:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(**keyed, timeout=0.3)
        again = asyncio.create_task(client.chat.completions.create(**keyed))
        await eventually(lambda: held.began)
        held.let_go.set()

        assert (await again).choices[0].message.content == "patience"


@pytest.mark.parametrize("stream", [False, True])
async def test_stopping_coordinator_says_the_task_continues(coordinator: Suite, stream: bool) -> None:
    """A coordinator that stops says that the task goes on."""
    held = Held()
    await coordinator.add(agent("held", "work", held))
    async with asking_suite(coordinator, max_retries=2) as client:
        ask = asyncio.create_task(streamed(client, model="held") if stream else whole(client, model="held"))
        await eventually(lambda: held.began)
        coordinator.app.stopping.begin()
        with pytest.raises(openai.APIError, match="the task continues") as caught:
            await ask

    assert caught.value.code == "unavailable"
    if not stream:
        assert caught.value.response.headers["location"] == f"/tasks/{held.began[0].task_id}"
        assert caught.value.response.headers["x-should-retry"] == "false"


async def test_chat_is_answered_by_its_deadline_without_disk(network: Network, tmp_path: Path) -> None:
    """A chat is answered by its deadline even when its end cannot be written."""
    full = False

    def at(point: str) -> None:
        if full and point.endswith(".written"):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    held = Held()
    on_disk = Suite(network, app={"at": at}, database_url=f"sqlite:///{tmp_path}/muster.db", memory_enabled=False)
    async with on_disk as suite:
        await suite.add(agent("held", "work", held))
        async with asking_suite(suite) as client:
            ask = asyncio.create_task(whole(client, model="held", extra_body={"timeout_seconds": 0.5}))
            await eventually(lambda: held.began)
            full = True
            with pytest.raises(openai.InternalServerError, match="cannot be saved yet") as caught:
                await ask
            full = False
            await suite.ended(held.began[0].task_id)

    assert (caught.value.status_code, caught.value.response.headers["x-should-retry"]) == (503, "false")
    assert caught.value.response.headers["location"] == f"/tasks/{held.began[0].task_id}"


async def test_without_the_key_of_the_service_it_is_401(network: Network) -> None:
    async with Suite(network, api_key="secret") as suite:
        async with asking_suite(suite) as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                await client.models.list()
        async with asking_suite(suite, api_key="secret") as client:
            assert [m.id async for m in client.models.list()] == ["coordinator"]

    assert caught.value.code == "invalid_api_key"
    assert caught.value.body.keys() == {"message", "type", "param", "code"}


async def test_full_queue_is_429_with_retry_after(network: Network) -> None:
    """A full queue is 429 with when to come back."""
    held = Held()
    narrow = Suite(network, agent("held", "work", held), max_concurrent_tasks=1, max_queued_tasks=0)
    async with narrow as suite, asking_suite(suite) as client:
        first = asyncio.create_task(client.chat.completions.create(model="held", messages=USER))
        await eventually(lambda: held.began)
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="held", messages=USER)
        held.let_go.set()
        await first

    assert caught.value.code == "rate_limit_exceeded"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 300


# --- through the gateway ---------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/agents/parrot", "/any-namespace/agent/parrot"])
async def test_an_agent_is_asked_through_the_gateway(coordinator: Suite, prefix: str) -> None:
    app = create_worker_app(agent("parrot", "repeat", echoes), settings=worker_settings(), inner=Network())
    async with serving(app) as agent_url, serving(coordinator.app, lifespan=False) as url:
        await coordinator.register("parrot", agent_url)
        await coordinator.sees(agent_url.partition("//")[2], "healthy")
        async with client_of(f"{url}{prefix}") as client:
            assert (await whole(client, "hello")).choices[0].message.content == "hello"
            assert text_of(await streamed(client, "hello")) == "hello"
            assert [m.id async for m in client.models.list()] == ["parrot"]
            with pytest.raises(openai.BadRequestError, match="n must be 1"):
                await whole(client, n=2)


@pytest.mark.parametrize("stream", [False, True])
async def test_hanging_up_reaches_the_agent_behind_the_gateway(coordinator: Suite, stream: bool) -> None:
    held = Held()
    app = create_worker_app(agent("held", "work", held), settings=worker_settings(), inner=Network())
    async with serving(app) as agent_url, serving(coordinator.app, lifespan=False) as url:
        await coordinator.register("held", agent_url)
        host = agent_url.partition("//")[2]
        await coordinator.sees(host, "healthy")
        async with client_of(f"{url}/agents/held") as client:
            ask = asyncio.create_task(client.chat.completions.create(model="held", messages=USER, stream=stream))
            await eventually(lambda: held.began)
            if stream:
                await (await ask).close()
            else:
                ask.cancel()

            await eventually(lambda: held.cancelled)

        async def no_load() -> bool:
            return (await coordinator.agents())[host].load == 0

        await eventually(no_load)
