"""Request bodies: read with a limit, parsed strictly, checked against a type, with errors by field."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.types import Message, Receive

from shared.client.addresses import why_url_refused
from shared.contracts import MAX_BODY_BYTES
from shared.errors import BadRequest, Invalid, TooLarge
from shared.strict_json import json_pointer, strict_json

_OBJECT = re.compile(r"a valid dictionary( or instance of \w+)?")

M = TypeVar("M", bound=BaseModel)


async def read(request: Request, *, limit: int = MAX_BODY_BYTES) -> bytes:
    """The whole body; raises `TooLarge` past `limit` bytes, also when no Content-Length was sent."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"The request body is larger than the limit of {limit:,} bytes.")
    return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, for the next reader; and then what comes after it, the caller's hanging up."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return left.pop() if left else await receive()

    return receive_again


def parse(model: type[M], body: bytes) -> M:
    """The body as `model`.

    Raises `BadRequest` for what is not JSON (RFC 8259: no NaN, no lone surrogates, UTF-8), and `Invalid` with
    `errors: [{pointer, detail}]` for the wrong shape.
    """
    try:
        data = strict_json(body)
    except ValueError as exc:
        raise BadRequest(f"The body is not valid JSON: {exc}.") from exc
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        raise make_invalid(exc) from exc


def make_invalid(exc: ValidationError) -> Invalid:
    """A pydantic error as the answer 422: the first field in `detail`, all in `errors`."""
    errors = [
        {"pointer": json_pointer(e["loc"]), "detail": _reword(e["msg"])}
        for e in exc.errors(include_url=False, include_input=False)
    ]
    first = errors[0]
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    return Invalid(f"{first['pointer'] or 'The body'}: {first['detail']}{more}", errors[:50])


def describe(model: type[Any], *, example: Any = None) -> dict[str, Any]:
    """The body of a route that reads it without FastAPI, for the OpenAPI document: FastAPI's `openapi_extra`."""
    shown = {"schema": model.model_json_schema()} | ({"example": example} if example is not None else {})
    return {"requestBody": {"required": True, "content": {"application/json": shown}}}


def check_address(pointer: str, url: str, *, private: bool) -> None:
    """Raises `Invalid` where the field at `pointer` holds no URL, or one whose literal address is not allowed."""
    if refused := why_url_refused(url, private=private):
        raise Invalid(f"{pointer}: {refused}", [{"pointer": pointer, "detail": refused}])


def _reword(message: str) -> str:
    """Pydantic's words for callers, who send JSON and do not know our classes."""
    return _OBJECT.sub("an object", message).removeprefix("Value error, ").removeprefix("Assertion failed, ")
