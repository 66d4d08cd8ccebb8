"""A stand-in for a model, which delegates to every tool it is given, and for agents, which take their time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

ALONE = "Answer alone."  # a question that holds this is answered without anybody's help
ANSWER = "It is done."


class StandIn:
    """Answers `POST /v1/chat/completions`, whole or streamed; with `hangs` it takes every call and answers none."""

    def __init__(self, seconds: float, *, hangs: bool) -> None:
        self._seconds = seconds
        self._hangs = hangs

    def build_app(self) -> web.Application:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/v1/chat/completions", self.answer_chat)
        app.router.add_get("/ready", self.answer_ready)
        app.router.add_get("/{anything:.*}", self.answer_card)
        return app

    async def answer_ready(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ready"})

    async def answer_card(self, _: web.Request) -> web.Response:
        if self._hangs:
            await asyncio.Event().wait()
        return web.json_response({"status": "healthy", "name": "stand-in", "description": "Takes its time."})

    async def answer_chat(self, request: web.Request) -> web.StreamResponse:
        if self._hangs:
            await asyncio.Event().wait()
        body = await request.json()
        last = body["messages"][-1]
        calls: list[dict[str, Any]] = []
        if last["role"] == "user" and ALONE not in str(last["content"]):
            calls = [_build_call(n, tool["function"]["name"]) for n, tool in enumerate(body.get("tools") or ())]
        if not body.get("tools"):
            await asyncio.sleep(self._seconds)
        said = {"role": "assistant", "content": None if calls else ANSWER}
        finish = "tool_calls" if calls else "stop"
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        if not body.get("stream"):
            message = said | ({"tool_calls": calls} if calls else {})
            choice = {"index": 0, "message": message, "finish_reason": finish}
            return web.json_response(_build_head(body, "chat.completion") | {"choices": [choice], "usage": usage})
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        delta = said | ({"tool_calls": [{"index": n, **call} for n, call in enumerate(calls)]} if calls else {})
        for choice in ({"index": 0, "delta": delta}, {"index": 0, "delta": {}, "finish_reason": finish}):
            await _send(stream, _build_head(body, "chat.completion.chunk") | {"choices": [choice]})
        await _send(stream, _build_head(body, "chat.completion.chunk") | {"choices": [], "usage": usage})
        await stream.write(b"data: [DONE]\n\n")
        return stream


def _build_call(number: int, name: str) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps({"task": "Count the ships."})}
    return {"id": f"call_{number}", "type": "function", "function": function}


def _build_head(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body.get("model", "stand-in")}


async def _send(stream: web.StreamResponse, chunk: Mapping[str, Any]) -> None:
    await stream.write(f"data: {json.dumps(chunk)}\n\n".encode())
