"""OpenAI's chat API on every service: `/v1/chat/completions`, `/v1/models`, errors as its clients expect them."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Annotated, Any
from uuid import uuid4

from fastapi import Header, Request, Response

from shared.errors import BadRequest, ModelNotFound, MusterError
from shared.limits.envelope import HOP, parse_hop
from shared.protocols.mounting import Host
from shared.protocols.openai import described
from shared.protocols.openai import request as openai_request
from shared.protocols.openai import response as openai_answer
from shared.protocols.openai.stream import Chat
from shared.server import bodies
from shared.server.edge import traceparent
from shared.server.openapi import also

PREFIX = "/v1/"
_ERRORS: dict[int | str, dict[str, Any]] = {"default": {"model": described.ChatError}}
_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}\Z")


def mount(host: Host) -> None:
    """Adds the routes, and OpenAI's form of errors for everything below `/v1/`."""
    app, face, started = host.app, host.face, int(time.time())
    app.error_forms[PREFIX] = _answer_error

    @app.get(
        "/v1/models", tags=["openai"], response_model=None, responses=_ERRORS | {200: {"model": described.ModelList}}
    )
    async def list_models() -> dict[str, Any]:
        """The names that can be asked."""
        return openai_answer.list_models(face.models(), created=started)

    @app.get(
        "/v1/models/{name:path}",
        tags=["openai"],
        response_model=None,
        responses=_ERRORS | {200: {"model": described.Model}},
    )
    async def get_model(name: str) -> dict[str, Any]:
        """One of them."""
        if name not in face.models():
            raise ModelNotFound(f"There is no model {name!r}. Available: {', '.join(face.models())}.")
        return openai_answer.describe_model(name, created=started)

    @app.post(
        "/v1/chat/completions",
        tags=["openai"],
        openapi_extra=_BODY,
        responses=_ERRORS | {200: {"model": described.ChatCompletion} | also("text/event-stream")[200]},
    )
    async def chat(
        request: Request,
        x_session_id: Annotated[str | None, Header()] = None,
        idempotency_key: Annotated[str | None, Header()] = None,
        x_muster_progress: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Answers a conversation, whole or streamed; the work ends when the client hangs up, unless it sent a key."""
        body = bodies.parse(openai_request.ChatBody, await bodies.read(request, limit=app.body_limit))
        ask = openai_request.parse_ask(
            body,
            session=_check_visible("X-Session-ID", x_session_id),
            key=_check_visible("Idempotency-Key", idempotency_key),
            traceparent=traceparent.get(),
        )
        if (hop := request.headers.get(HOP)) is not None:
            ask = replace(ask, envelope=parse_hop(hop))
        answer = openai_answer.ChatAnswer(
            id=f"chatcmpl-{uuid4().hex}",
            created=int(time.time()),
            model=ask.model or face.models()[0],
            with_usage=body.wants_usage,
        )
        return Chat(face, ask, answer, streams=bool(body.stream), notes=x_muster_progress == "content")


_BODY = bodies.describe(
    openai_request.ChatBody, example={"messages": [{"role": "user", "content": "What is a lease?"}]}
)


def _answer_error(error: MusterError) -> Response:
    return Response(
        openai_answer.encode(openai_answer.describe_error(error)),
        openai_answer.choose_status(error),
        headers=openai_answer.make_headers(error),
        media_type="application/json",
    )


def _check_visible(name: str, value: str | None) -> str | None:
    """A header's value, without quotes around it; raises `BadRequest`."""
    if value is None:
        return None
    value = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    if not _VISIBLE.match(value):
        raise BadRequest(f"{name} must be 1 to 255 visible ASCII characters.")
    return value
