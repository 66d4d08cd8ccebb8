"""What A2A 1.0 asks of HTTP and the SDK leaves out: version as a parameter, media types, strict JSON, Last-Modified."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

from fastapi import Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.server import bodies
from shared.strict_json import strict_json

RPC_PATHS = ("/", "/a2a", "/a2a/")
CARD_PATH = "/.well-known/agent-card.json"
REST_PREFIX = "/a2a/rest"
A2A_JSON = "application/a2a+json"
_TAKEN = {"application/json", A2A_JSON}
_CARDS_REMEMBERED = 100


class Wire:
    """ASGI around the SDK's routes."""

    def __init__(self, app: ASGIApp, *, body_limit: int) -> None:
        self._app = app
        self._limit = body_limit
        self._changed: dict[bytes, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = b""  # but for POST nothing has one, and the card, which asks for no key, must not wait for it
        if request.method == "POST":
            body = await bodies.read(request, limit=self._limit)
        if (refused := _check_body(request, body)) is not None:
            await refused(scope, receive, send)
            return
        wants_a2a = A2A_JSON in request.headers.get("accept", "") or A2A_JSON in _read_media_type(request)

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, b"application/json" if value == A2A_JSON.encode() and not wants_a2a else value)
                    for name, value in message["headers"]
                ]
                if scope["path"] == CARD_PATH:
                    message["headers"] += self._date_card(message["headers"])
            await send(message)

        await self._app(_add_version(scope), bodies.replay(body, receive), send_on)

    def _date_card(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """When this card was seen first: it changes with the agents that are there."""
        tag = dict(headers).get(b"etag")
        if tag is None:
            return []
        if tag not in self._changed and len(self._changed) >= _CARDS_REMEMBERED:
            self._changed.clear()
        return [(b"last-modified", self._changed.setdefault(tag, formatdate(time.time(), usegmt=True)).encode())]


def _check_body(request: Request, body: bytes) -> Response | None:
    if request.method != "POST" or not body:
        return None
    is_rpc = request.url.path in RPC_PATHS
    if (given := _read_media_type(request)) and given not in _TAKEN:
        return _to_error(f"Content-Type: {given} is not supported; send application/json.", is_rpc=is_rpc)
    try:
        strict_json(body)
    except (ValueError, RecursionError) as exc:
        return _to_error(f"The body is not valid JSON: {exc}.", is_rpc=is_rpc, parse=True)
    return None


def _to_error(said: str, *, is_rpc: bool, parse: bool = False) -> Response:
    from a2a.utils import errors
    from a2a.utils.error_handlers import build_error_details, build_rest_error_payload

    if is_rpc:
        error: Any = errors.JSONParseError(said) if parse else errors.ContentTypeNotSupportedError(said)
        code = -32700 if parse else -32005
        answer = {"code": code, "message": said, "data": build_error_details(error)}
        content, status = json.dumps({"jsonrpc": "2.0", "id": None, "error": answer}), 200
    else:
        error = errors.InvalidRequestError(said) if parse else errors.ContentTypeNotSupportedError(said)
        payload = build_rest_error_payload(error)
        payload["error"]["code"] = status = 400 if parse else 415  # the SDK says 400 for both
        content = json.dumps(payload)
    return Response(content, status, media_type="application/json")


def _read_media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _add_version(scope: Scope) -> Scope:
    """With the header A2A-Version where the query says it; the header wins."""
    if any(name == b"a2a-version" for name, _ in scope["headers"]):
        return scope
    query = {k.lower(): v for k, v in parse_qs(scope["query_string"].decode("latin-1")).items()}
    if not (said := query.get("a2a-version")):
        return scope
    return {**scope, "headers": [*scope["headers"], (b"a2a-version", said[0].encode("latin-1", "replace"))]}
