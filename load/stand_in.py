"""A stand-in for a model, which delegates to every tool it is given, and for agents, which take their time."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

ALONE = "Answer alone."  # a question that holds this is answered without anybody's help
ANSWER = "It is done."


class StandIn:
    """`POST /v1/chat/completions`, whole and streamed; `hangs`: it takes every call and answers none."""

    def __init__(self, seconds: float, *, hangs: bool) -> None:
        self._seconds = seconds
        self._hangs = hangs

    def app(self) -> web.Application:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/ready", self.ready)
        app.router.add_get("/{anything:.*}", self.card)
        return app

    async def ready(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ready"})

    async def card(self, _: web.Request) -> web.Response:
        if self._hangs:
            await asyncio.Event().wait()
        return web.json_response({"status": "healthy", "name": "stand-in", "description": "Takes its time."})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        if self._hangs:
            await asyncio.Event().wait()
        body = await request.json()
        last = body["messages"][-1]
        calls: list[dict[str, Any]] = []
        if last["role"] == "user" and ALONE not in str(last["content"]):
            calls = [_call(n, tool["function"]["name"]) for n, tool in enumerate(body.get("tools") or ())]
        if not body.get("tools"):
            await asyncio.sleep(self._seconds)
        said = {"role": "assistant", "content": None if calls else ANSWER}
        finish = "tool_calls" if calls else "stop"
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        if not body.get("stream"):
            message = said | ({"tool_calls": calls} if calls else {})
            choice = {"index": 0, "message": message, "finish_reason": finish}
            return web.json_response(_head(body, "chat.completion") | {"choices": [choice], "usage": usage})
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        delta = said | ({"tool_calls": [{"index": n, **call} for n, call in enumerate(calls)]} if calls else {})
        for choice in ({"index": 0, "delta": delta}, {"index": 0, "delta": {}, "finish_reason": finish}):
            await _send(stream, _head(body, "chat.completion.chunk") | {"choices": [choice]})
        await _send(stream, _head(body, "chat.completion.chunk") | {"choices": [], "usage": usage})
        await stream.write(b"data: [DONE]\n\n")
        return stream


def _call(number: int, name: str) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps({"task": "Count the ships."})}
    return {"id": f"call_{number}", "type": "function", "function": function}


def _head(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body.get("model", "stand-in")}


async def _send(stream: web.StreamResponse, chunk: Mapping[str, Any]) -> None:
    await stream.write(f"data: {json.dumps(chunk)}\n\n".encode())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load.stand_in", description="A stand-in for agents and models.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.5, help="that an agent takes (default: %(default)s)")
    parser.add_argument("--hangs", action="store_true", help="answer nothing, ever")
    given = parser.parse_args()
    web.run_app(StandIn(given.seconds, hangs=given.hangs).app(), host="127.0.0.1", port=given.port, print=None)


if __name__ == "__main__":
    main()
