"""The limit of a program behind uvicorn: a bare ASGI function, the same exchanges, no framework, no journal."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from load.bare.client import Client
from load.bare.server import HEALTHY
from load.peers.limits.exchange import answer_task

AGENTS = Client(os.environ.get("AGENTS", "http://127.0.0.1:9000").removeprefix("http://"))
_JSON = (b"content-type", b"application/json")


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    said = json.dumps(await answer_task(AGENTS, json.loads(body))).encode() if scope["method"] == "POST" else HEALTHY
    headers = [_JSON, (b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})
