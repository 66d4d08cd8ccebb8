"""Calls to a language model through Pydantic AI: words, tool calls and shapes out, every failure a `ModelFailed`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import httpx
from openai import AsyncOpenAI, OpenAIError
from pydantic import BaseModel, JsonValue
from pydantic_ai import Agent, PromptedOutput
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import AgentRunError, ModelAPIError, UserError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    PartDeltaEvent,
    PartStartEvent,
    SystemPromptPart,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage, RunUsage, UsageLimits

from shared.answering import Message, ToolCall
from shared.contracts import Usage
from shared.errors import ModelFailed
from shared.models.turns import AS_SET, Hear, Limits, Sampling, ToolSpec, Turn

TRIES = 3
FIRST_PAUSE_SECONDS = 0.25  # doubled with each try, where the model does not say how long to wait
OUT_OF_REPLIES = "[no more mock responses]"
SHOWN_CHARACTERS = 500  # of a foreign error, in ours
_FOREIGN = (AgentRunError, UserError, OpenAIError, httpx.HTTPError, ValueError, TypeError, AttributeError, KeyError)

T = TypeVar("T")
Shape = TypeVar("Shape", bound=BaseModel)


def behind(url: str, *, name: str, key: str | None, http: httpx.AsyncClient) -> Model[Any]:
    """The model `name` of the OpenAI-compatible service at `url`."""
    client = AsyncOpenAI(base_url=url, api_key=key or "none", http_client=http, max_retries=0)  # type: ignore[arg-type]  # takes httpx's too
    profile = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)  # or half an answer passes as whole
    provider = OpenAICompatibleProvider("model", openai_client=client, profile=profile)
    return OpenAIChatModel(name, provider=provider)


def scripted(script: Sequence[JsonValue], *, name: str) -> Model[Any]:
    """A model that gives these replies in turn: strings, `{"content", "tool_calls"}` objects, or other JSON as text."""
    left = list(script)

    def following() -> tuple[str, list[ToolCall]]:
        return _reply(left.pop(0)) if left else (OUT_OF_REPLIES, [])

    async def whole(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        text, calls = following()
        parts: list[ModelResponsePart] = [TextPart(text)] if text else []
        return ModelResponse([*parts, *(ToolCallPart(c.name, c.arguments, c.id) for c in calls)])

    async def pieces(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        text, calls = following()
        for word in text.splitlines(keepends=True) or [text]:
            yield word
        for number, call in enumerate(calls):
            yield {number: DeltaToolCall(call.name, call.arguments, tool_call_id=call.id)}

    return FunctionModel(whole, stream_function=pieces, model_name=name)


def _reply(entry: JsonValue) -> tuple[str, list[ToolCall]]:
    if isinstance(entry, str):
        return entry, []
    if not isinstance(entry, dict) or not isinstance(calls := entry.get("tool_calls"), list):
        return json.dumps(entry, ensure_ascii=False), []
    said = entry.get("content")
    return said if isinstance(said, str) else "", [_call(call, number) for number, call in enumerate(calls)]


def _call(call: JsonValue, number: int) -> ToolCall:
    """A call as scripts write it: `{"id", "name", "arguments"}`, or with both inside `function` as on the wire."""
    given = call if isinstance(call, dict) else {}
    function = given.get("function")
    inner = function if isinstance(function, dict) else given
    arguments = inner.get("arguments", {})
    return ToolCall(
        id=str(given.get("id") or f"call_{number}"),
        name=str(inner.get("name", "")),
        arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
    )


async def converse(
    model: Model[Any],
    *,
    instructions: str,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    limits: Limits,
    sampling: Sampling,
    hear: Hear | None,
) -> Turn:
    """The next reply; `hear` gets its words as they come, after which nothing is tried again."""
    heard = False

    async def once() -> ModelResponse:
        nonlocal heard
        definitions = [
            ToolDefinition(name=t.name, description=t.description, parameters_json_schema=t.schema) for t in tools
        ]
        async with model_request_stream(
            model,
            [*_history(messages, instructions)],
            model_settings=_settings(limits, sampling),
            model_request_parameters=ModelRequestParameters(function_tools=definitions),
        ) as stream:
            async for event in stream:
                text = ""
                if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                    text = event.part.content
                elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                    text = event.delta.content_delta
                if text and hear is not None:
                    heard = True
                    await hear(text)
            return stream.get()

    response, tries = await _patiently(model.model_name, limits, once, may_repeat=lambda: not heard)
    text = "".join(p.content for p in response.parts if isinstance(p, TextPart))
    calls = tuple(
        ToolCall(p.tool_call_id, p.tool_name, p.args_as_json_str())
        for p in response.parts
        if isinstance(p, ToolCallPart)
    )
    usage = _usage(response.usage, calls=tries)
    if not usage.input_tokens and not usage.output_tokens:  # a server that does not say: words are counted
        asked, said = [instructions, *(m.content for m in messages)], [text, *(c.arguments for c in calls)]
        usage = Usage(calls=tries, input_tokens=_words(asked), output_tokens=_words(said))
    cut = response.finish_reason == "length"
    if response.finish_reason == "content_filter":
        raise ModelFailed(f"Model {model.model_name!r} refuses to answer.", usage=usage)
    if not text and not calls:
        why = " before its limit of tokens" if cut else ""
        raise ModelFailed(f"Model {model.model_name!r} said nothing{why}.", usage=usage)
    return Turn(text, calls, usage, cut)


async def structure(
    model: Model[Any], *, instructions: str, data: str, shape: type[Shape], limits: Limits, calls: int
) -> tuple[Shape, Usage]:
    """An answer of a shape, which is in the prompt so that every server can do it; asked for at most `calls` times."""
    agent: Agent[None, BaseModel] = Agent(
        model, output_type=PromptedOutput(shape), instructions=instructions, retries=max(0, calls - 1)
    )
    spent = RunUsage()

    async def once() -> BaseModel:
        result = await agent.run(
            data, usage=spent, usage_limits=UsageLimits(request_limit=calls), model_settings=_settings(limits)
        )
        return result.output

    try:
        found, tries = await _patiently(
            model.model_name, limits, once, may_repeat=lambda: spent.requests == 0, most=calls
        )
    except ModelFailed as failure:
        failure.usage = _usage(spent, calls=max(failure.usage.calls, spent.requests))
        raise
    assert isinstance(found, shape)
    return found, _usage(spent, calls=max(tries, spent.requests))


def _history(messages: Sequence[Message], instructions: str) -> list[ModelMessage]:
    """A conversation as Pydantic AI has it: requests and responses in turn, instructions on the last request."""
    found: list[ModelMessage] = []
    waiting: list[ModelRequestPart] = []
    names: dict[str, str] = {}
    for message in messages:
        if message.role == "assistant":
            if waiting:
                found.append(ModelRequest(waiting))
                waiting = []
            said: list[ModelResponsePart] = [TextPart(message.content)] if message.content else []
            for call in message.tool_calls:
                names[call.id] = call.name
                said.append(ToolCallPart(call.name, call.arguments, call.id))
            found.append(ModelResponse(said))
        elif message.role == "tool":
            call_id = message.tool_call_id or ""
            waiting.append(ToolReturnPart(names.get(call_id, "tool"), message.content, call_id))
        elif message.role == "system":
            waiting.append(SystemPromptPart(message.content))
        else:
            waiting.append(UserPromptPart(message.content))
    found.append(ModelRequest(waiting, instructions=instructions or None))
    return found


async def _patiently(
    name: str, limits: Limits, once: Callable[[], Awaitable[T]], *, may_repeat: Callable[[], bool], most: int = TRIES
) -> tuple[T, int]:
    """What a call gives, and how many tries it took, at `most` and three; no wait is begun that ends too late."""
    loop = asyncio.get_running_loop()
    until, tries = loop.time() + limits.seconds, 0
    try:
        async with asyncio.timeout_at(until):
            while True:
                tries += 1
                try:
                    return await once(), tries
                except _FOREIGN as exc:
                    failure = _translated(name, exc, tries)
                    pause = _retry_after(exc) or FIRST_PAUSE_SECONDS * 2.0 ** (tries - 1)
                    if (
                        not failure.retryable
                        or tries >= min(most, TRIES)
                        or not may_repeat()
                        or loop.time() + pause >= until
                    ):
                        raise failure from exc
                    await asyncio.sleep(pause)
    except TimeoutError as exc:
        text = f"Model {name!r} did not answer within {limits.seconds:.1f} s."
        raise ModelFailed(text, usage=Usage(calls=tries)) from exc


def _translated(name: str, exc: Exception, tries: int) -> ModelFailed:
    status = getattr(exc, "status_code", None)
    why = str(exc)[:SHOWN_CHARACTERS] or type(exc).__name__
    if isinstance(exc.__cause__, OpenAIError) and isinstance(cause := exc.__cause__.__cause__, Exception):
        why = f"{why} {cause}"[:SHOWN_CHARACTERS]  # "Connection error." alone says nothing
    failure = ModelFailed(f"Model {name!r} failed: {why}", usage=Usage(calls=tries), retry_after=_retry_after(exc))
    connection = isinstance(exc, ModelAPIError) and status is None and not isinstance(exc.__cause__, TimeoutError)
    failure.retryable = connection or status == 429 or (isinstance(status, int) and status >= 500)
    return failure


def _retry_after(exc: Exception) -> float | None:
    found = getattr(exc, "retry_after", None)
    return float(found) if isinstance(found, int | float) and found >= 0 else None


def _settings(limits: Limits, sampling: Sampling = AS_SET) -> ModelSettings:
    found = ModelSettings()
    if limits.max_tokens is not None:
        found["max_tokens"] = limits.max_tokens
    if sampling.temperature is not None:
        found["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        found["top_p"] = sampling.top_p
    if sampling.seed is not None:
        found["seed"] = sampling.seed
    if sampling.stop:
        found["stop_sequences"] = list(sampling.stop)
    if sampling.response_format is not None:
        found["extra_body"] = {"response_format": sampling.response_format}
    return found


def _words(texts: Sequence[str]) -> int:
    return sum(len(text.split()) for text in texts)


def _usage(usage: RequestUsage | RunUsage, *, calls: int) -> Usage:
    return Usage(calls=calls, input_tokens=max(0, usage.input_tokens), output_tokens=max(0, usage.output_tokens))
