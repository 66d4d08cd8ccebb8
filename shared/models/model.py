"""A language model behind an OpenAI-compatible URL, or replies from a script: words, tool calls and shapes out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from pydantic import JsonValue

from shared import logs
from shared.client import client as transport
from shared.contracts import NO_USAGE, Usage
from shared.conversation import Message
from shared.errors import ModelFailed
from shared.models import shapes
from shared.models.choice import PLACES_LOCAL, base_url, choose_model, is_local, lacking
from shared.models.reading import parse_reply
from shared.models.script import Script, replies
from shared.models.servers.asked import TRIES, ModelRequest
from shared.models.servers.caller import Answers, Caller, Silent
from shared.models.servers.pace import Room
from shared.models.servers.server import Server
from shared.models.servers.turns import (
    AS_SET,
    Blank,
    Filled,
    FitBlank,
    Hear,
    ModelReply,
    Sampling,
    Shape,
    SoFar,
    ToolSpec,
)
from shared.models.servers.wire import Received
from shared.models.warming import measure_again, warm_up
from shared.recording.tape import TAPE
from shared.settings import ModelSettings
from shared.telemetry.genai import add_usage, trace_chat

MAX_REPLY_BYTES = 8_000_000
CHAT_TOKENS = 4_096  # of a chat's reply at the most, unless the caller says less
SHAPE_TOKENS = 2_000
EXACT_TEMPERATURE = 0.1  # of forms and of agents that may call, unless set; servers default to 0.8
LOOK_SECONDS = 0.25  # between two looks at what of a shape has come
SHAPE_RULE = "Answer with one line of JSON and nothing else, of this form, each … replaced:"


class LanguageModel:
    """A model that can be asked; safe to share between requests, to be closed with `aclose()` or `async with`.

    Every method raises `shared.errors.ModelFailed` for whatever goes wrong, within `seconds`; its `usage` is what the
    failed calls cost. A 429 or 5xx is tried again, at most twice, where the time allows what the model asks for; what
    a server does not take is left out, and a server that says it loads is waited for. A call that cannot end in its
    time, by the speed of the last ones and those that wait before it, is not begun.
    """

    def __init__(
        self,
        *,
        url: str = "",
        name: str = "scripted",
        key: str | None = None,
        seconds: float = 60.0,
        max_tokens: int | None = None,
        native_tools: bool = True,
        temperature: float | None = None,
        context: int | None = None,
        places: int = PLACES_LOCAL,
        extra: Mapping[str, Any] | None = None,
        warm: bool = False,
        script: Sequence[JsonValue] | None = None,
    ) -> None:
        self.name = name
        self.native_tools = native_tools
        self._url = base_url(url) if url else ""
        self._seconds = seconds
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._warm = warm
        self._script = script
        self._answers: Answers
        self._server: Server | None = None
        self._measuring: asyncio.Task[None] | None = None
        if script is None and url:
            http = transport.make_client(policy="agents", seconds=3_600.0, max_bytes=MAX_REPLY_BYTES)
            self._server = Server(http, self._url, name=name, key=key, places=places, context=context, extra=extra)
            self._answers = Caller(self._server)
        else:
            self._answers = Script(script or ())

    @property
    def scripted(self) -> bool:
        """Whether its replies come from a script."""
        return self._script is not None

    @property
    def server(self) -> Server | None:
        """What is known of its server; None for a script."""
        return self._server

    def for_request(self, mocks: Sequence[JsonValue] | None = None) -> LanguageModel:
        """The model as one request sees it: a script restarts, and `mocks` replace whatever there is."""
        script = self._script if mocks is None else mocks
        if script is None:
            return self
        return LanguageModel(name=self.name, seconds=self._seconds, max_tokens=self._max_tokens, script=script)

    async def __aenter__(self) -> Self:
        """Starts warming the model up in the background, where that is wanted."""
        if self._warm and self._server is not None:
            work = warm_up(self._server, local=is_local(self._url))
            self._server.started = time.monotonic()
            self._server.starting = asyncio.create_task(work, name="model:warm-up")
            self._measuring = asyncio.create_task(measure_again(self._server), name="model:speed")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes its connections."""
        if self._server is None:
            return
        tasks = {task for task in (self._server.starting, self._measuring) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._server.http.aclose()

    async def text(
        self, *, instructions: str, data: str, seconds: float, max_tokens: int | None = None
    ) -> tuple[str, Usage]:
        """The model's words about `data`, which should be inside `fence` where others wrote it."""
        turn = await self.turn(
            instructions=instructions, messages=[Message("user", data)], seconds=seconds, max_tokens=max_tokens
        )
        return turn.text, turn.usage

    async def turn(
        self,
        *,
        instructions: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        seconds: float,
        max_tokens: int | None = None,
        sampling: Sampling = AS_SET,
        hear: Hear | None = None,
        progress: Hear | None = None,
    ) -> ModelReply:
        """The model's next reply in a conversation; `hear` gets its words as they come, never its thoughts.

        `progress` gets a sentence now and then while it loads, waits for its turn or thinks. Raises ToolsRefused where
        the model cannot be given tools, ContextTooSmall where the conversation is too long for it.
        """
        reply = self._tokens(CHAT_TOKENS, max_tokens, sampling.max_tokens)
        asked = ModelRequest(instructions, messages, tools, self._drawn(sampling), reply_tokens=reply)
        into = Received()
        usage = await self._ask(asked, into, seconds=self._limit(seconds), hear=hear, progress=progress)
        text, calls = into.speech.words, into.calls
        if into.finish == "content_filter":
            raise ModelFailed(f"Model {self.name!r} refused to answer.", usage=usage)
        if not text.strip() and not calls:
            why = " within its token limit" if into.cut else ""
            thought = ": it spent them on reasoning" if into.speech.thoughts else ""
            raise ModelFailed(f"Model {self.name!r} said nothing{why}{thought}.", usage=usage)
        return ModelReply(text, calls, usage, into.cut, into.note)

    async def structured(
        self,
        *,
        instructions: str,
        data: str | FitBlank[Shape],
        shape: type[Shape],
        seconds: float,
        max_tokens: int | None = None,
        tries: int = TRIES,
        least_characters: int = 0,
        so_far: SoFar[Shape] | None = None,
        progress: Hear | None = None,
    ) -> Filled[Shape]:
        """The model's answer about `data` as a `shape`, streamed: whatever is complete when the time runs out is kept.

        `data` may be what makes them, of what fits when the model has its turn: `least_characters` at the least, or it
        is not asked. `so_far` gets the shape each time another item of it is whole. At most `tries` calls are made, and
        an answer that is of no use is none: it is not asked for again. Raises ContextTooSmall where the prompt is too
        long.
        """
        reply = self._tokens(max_tokens or SHAPE_TOKENS)
        if isinstance(data, str):
            asked = self._form(instructions, Blank(data, shape, reply), tries)
        else:
            wanted = data

            async def fit(room: Room) -> ModelRequest:
                return self._form(instructions, await wanted(room), tries)

            first = self._form(instructions, Blank("", shape, reply), tries)
            asked = replace(first, fit=fit, least_characters=least_characters)
        into, looked, seen = Received(), 0.0, shape.model_construct()

        async def look(words: str) -> None:
            nonlocal looked, seen
            now = time.monotonic()
            if so_far is None or now - looked < LOOK_SECONDS or not set(words) & set('}]"'):
                return
            looked, found = now, parse_reply(into.speech.words, shape)
            if found is not None and found[0] != seen:
                seen = found[0]
                await so_far(seen)

        failure: ModelFailed | None = None
        usage = NO_USAGE
        try:
            hear = None if so_far is None else look
            usage = await self._ask(asked, into, seconds=self._limit(seconds), hear=hear, progress=progress)
        except ModelFailed as exc:
            into.speech.end()
            if not into.speech.words.strip():
                raise
            failure, usage = exc, exc.usage
        found = parse_reply(into.speech.words, shape)
        if found is None:
            raise failure or ModelFailed(self._useless(into), usage=usage)
        cut = ""
        if isinstance(failure, Silent):
            cut = "The model timed out before its answer was complete."
        elif failure is not None:
            cut = failure.detail
        elif into.cut:
            cut = "The model reached its token limit before its answer was complete."
        elif not found[1]:
            cut = "The model's answer is malformed from some point on."
        return Filled(found[0], usage, cut, into.note)

    async def _ask(
        self, asked: ModelRequest, into: Received, *, seconds: float, hear: Hear | None, progress: Hear | None
    ) -> Usage:
        as_json = asked.format is not None
        with trace_chat(self.name, self._url, max_tokens=asked.reply_tokens, as_json=as_json) as span:
            usage = await self._answer(asked, into, seconds=seconds, hear=hear, progress=progress)
            if span is not None:
                add_usage(span, usage)
                span.attributes["gen_ai.response.finish_reasons"] = (into.finish or "stop",)
            return usage

    async def _answer(
        self, asked: ModelRequest, into: Received, *, seconds: float, hear: Hear | None, progress: Hear | None
    ) -> Usage:
        if (tape := TAPE.get()) is None:
            return await self._answers.answer(asked, into, seconds=seconds, hear=hear, progress=progress)
        from shared.models import taped

        return await taped.ask(tape, self._answers, asked, into, seconds=seconds, hear=hear, progress=progress)

    def _form(self, instructions: str, blank: Blank[Shape], tries: int) -> ModelRequest:
        return ModelRequest(
            f"{instructions}\n\n{SHAPE_RULE}\n{shapes.example(blank.shape)}",
            [Message("user", blank.data)],
            sampling=self._drawn(Sampling(exact=True)),
            format=shapes.response_format(blank.shape),
            reply_tokens=self._tokens(blank.max_tokens),
            tries=tries,
        )

    def _useless(self, into: Received) -> str:
        if into.finish == "content_filter":
            return f"Model {self.name!r} refused to answer."
        if into.cut:
            return f"Model {self.name!r} reached its token limit before any part of its answer was complete."
        said = "said nothing" if not into.speech.words.strip() else "did not answer in the requested format"
        return f"Model {self.name!r} {said}."

    def _limit(self, seconds: float) -> float:
        return min(seconds, self._seconds)

    def _tokens(self, *limits: int | None) -> int:
        return min(n for n in (*limits, self._max_tokens) if n is not None)

    def _drawn(self, wished: Sampling) -> Sampling:
        """The caller's temperature, else MODEL_TEMPERATURE, else a low one where `exact`, else the server's own."""
        otherwise = EXACT_TEMPERATURE if self._temperature is None and wished.exact else self._temperature
        return wished if wished.temperature is not None else replace(wished, temperature=otherwise)


def models_from(settings: ModelSettings) -> LanguageModel | None:
    """The model that the settings name: a script before a server, None where there is neither, which is logged."""
    if settings.debug_mock_responses is not None:
        return LanguageModel(
            name=settings.model_name or "scripted",
            seconds=settings.model_timeout,
            max_tokens=settings.model_max_tokens,
            native_tools=settings.tool_call_mode != "string",
            script=replies(settings.debug_mock_responses),
        )
    found = choose_model(settings)
    if found is None:
        if why := lacking(settings):
            logs.get().warning("model.none", why=why)
        return None
    return LanguageModel(
        url=found.url,
        name=found.name,
        key=found.key,
        seconds=settings.model_timeout,
        max_tokens=settings.model_max_tokens,
        native_tools=settings.tool_call_mode != "string",  # KAOS's `auto` is native here
        temperature=settings.model_temperature,
        context=settings.model_context,
        places=found.places,
        extra=settings.model_body,
        warm=True,
    )
