"""A real OpenAI-compatible server with replies written down before: whole, streamed, and every way to go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from shared.models.warming import INSTRUCTIONS
from tests.support.fakes import serving

USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


@dataclass(frozen=True)
class Says:
    """A reply: words (sent in these pieces), or tools to call, `{"name", "arguments"}` each."""

    text: str | Sequence[str] = ""
    calls: Sequence[dict[str, Any]] = ()
    finish: str | None = None
    seconds: float = 0.0  # before the first word
    between: float = 0.0  # seconds between two pieces
    thoughts: str = ""  # as `reasoning_content`
    whole: bool = False  # also where a stream is asked for
    hangs: bool = False  # after its last piece
    usage: dict[str, int] | None = field(default_factory=lambda: dict(USAGE))

    def pieces(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else list(self.text)

    def tool_calls(self) -> list[dict[str, Any]]:
        return [
            {"id": f"call_{n}", "type": "function", "function": {"name": c["name"], "arguments": _json(c["arguments"])}}
            for n, c in enumerate(self.calls)
        ]


@dataclass(frozen=True)
class Refuses:
    """An error answer."""

    status: int
    message: str = "no"
    headers: dict[str, str] = field(default_factory=dict)


class Hangs:
    """Never answers."""


@dataclass(frozen=True)
class HalfAChunk:
    """Begins a stream with these words and breaks off inside a chunk, or as when the server's process ends."""

    text: str = "The moon "
    dies: bool = False


class Rubbish:
    """Answers with something that is no completion."""


Entry = str | Says | Refuses | Hangs | HalfAChunk | Rubbish | Callable[[dict[str, Any]], "Awaitable[Entry] | Entry"]


@dataclass
class FakeModel:
    """What the server says in turn (the last entry again and again), and the bodies and headers that came."""

    script: list[Entry]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    left: int = 0  # callers that hung up in the middle
    refuses: int = 0  # the status with which it refuses to list its models
    warmed: int = 0  # first calls of a process, which are no part of the script
    there: asyncio.Event = field(default_factory=asyncio.Event)  # set by a test: it is loaded now
    loading: str = ""  # till then it `says` so (503), or `hangs` where it answers at all
    pages: dict[str, Any] = field(default_factory=dict)  # what other addresses answer, `/props` say

    def next(self) -> Entry:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def prompt(self, number: int = -1) -> str:
        """Everything the model was told in one call, as one text."""
        return "\n".join(str(m.get("content") or "") for m in self.asked[number]["messages"])


@contextlib.asynccontextmanager
async def fake_model(*script: Entry) -> AsyncIterator[FakeModel]:
    """The server on a real port; its `url` has no `/v1`."""
    model = FakeModel(list(script))
    async with serving(_app(model), lifespan=False) as url:
        model.url = url
        yield model


def _app(model: FakeModel) -> FastAPI:
    app = FastAPI()

    @app.get("/v1/models")
    async def models() -> Any:
        if model.refuses:
            return JSONResponse({"error": {"message": "no"}}, model.refuses)
        return {"object": "list", "data": [{"id": "fake", "object": "model", "created": 1, "owned_by": "tests"}]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await request.json()
        if model.loading == "hangs":
            await model.there.wait()
        elif model.loading and not model.there.is_set():
            return JSONResponse({"error": {"message": "Loading model", "code": 503}}, 503)
        if body["messages"][0]["content"] == INSTRUCTIONS:
            model.warmed += 1
            return JSONResponse(_whole(Says("ready"), body))
        model.asked.append(body)
        model.headers.append(dict(request.headers))
        entry = model.next()
        if callable(entry) and not isinstance(entry, type):
            made = entry(body)
            entry = await made if isinstance(made, Awaitable) else made
        if isinstance(entry, str):
            entry = Says(entry)
        if isinstance(entry, Refuses):
            error = {"message": entry.message, "type": "error", "param": None, "code": None}
            return JSONResponse({"error": error}, entry.status, headers=entry.headers)
        if isinstance(entry, Hangs):
            await _left(request, model)
            return PlainTextResponse("")
        if isinstance(entry, Rubbish):
            return PlainTextResponse("<html>busy</html>", media_type="text/html")
        if isinstance(entry, HalfAChunk):
            return StreamingResponse(_half(entry, body), media_type="text/event-stream")
        assert isinstance(entry, Says)
        await asyncio.sleep(entry.seconds)
        if body.get("stream") and not entry.whole:
            return StreamingResponse(_stream(entry, body, model), media_type="text/event-stream")
        return JSONResponse(_whole(entry, body))

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def page(path: str) -> Response:
        found = model.pages.get(f"/{path}")
        return JSONResponse(found) if found is not None else PlainTextResponse("Not Found", 404)

    return app


async def _left(request: Request, model: FakeModel) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    model.left += 1


def _whole(says: Says, body: dict[str, Any]) -> dict[str, Any]:
    calls = says.tool_calls()
    message = {"role": "assistant", "content": "".join(says.pieces()) or None}
    message |= {"reasoning_content": says.thoughts} if says.thoughts else {}
    message |= {"tool_calls": calls} if calls else {}  # type: ignore[dict-item]
    choice = {"index": 0, "message": message, "finish_reason": _finish(says)}
    return {**_head(body, "chat.completion"), "choices": [choice], "usage": says.usage}


async def _stream(says: Says, body: dict[str, Any], model: FakeModel) -> AsyncIterator[bytes]:
    yield _chunk(body, {"role": "assistant", "content": ""})
    for word in says.thoughts.split():
        yield _chunk(body, {"reasoning_content": f"{word} "})
    for piece in says.pieces():
        if piece:
            yield _chunk(body, {"content": piece})
            await asyncio.sleep(says.between)
    if says.hangs:
        try:
            await asyncio.sleep(3_600)
        finally:
            model.left += 1
    for number, call in enumerate(says.tool_calls()):
        yield _chunk(body, {"tool_calls": [{"index": number, **call}]})
    yield _chunk(body, {}, finish=_finish(says))
    if says.usage and (body.get("stream_options") or {}).get("include_usage"):
        whole = {**_head(body, "chat.completion.chunk"), "choices": [], "usage": says.usage}
        yield f"data: {json.dumps(whole)}\n\n".encode()
    yield b"data: [DONE]\n\n"


async def _half(half: HalfAChunk, body: dict[str, Any]) -> AsyncIterator[bytes]:
    yield _chunk(body, {"role": "assistant", "content": half.text})
    if half.dies:
        raise ConnectionAbortedError
    yield _chunk(body, {"content": "pulls"})[:40]


def _chunk(body: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({**_head(body, 'chat.completion.chunk'), 'choices': [choice]})}\n\n".encode()


def _head(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-fake", "object": kind, "created": 1_700_000_000, "model": body.get("model", "fake")}


def _finish(says: Says) -> str:
    return says.finish or ("tool_calls" if says.calls else "stop")


def _json(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)
