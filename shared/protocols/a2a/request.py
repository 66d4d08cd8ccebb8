"""From an A2A message to an Ask: what can be read of it, and what is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from a2a.server.context import ServerCallContext
from a2a.types.a2a_pb2 import Message as A2AMessage
from a2a.types.a2a_pb2 import Part, Role
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

from shared.conversation import Ask, Message
from shared.errors import BadRequest
from shared.limits.envelope import HOP, parse_hop
from shared.server.edge import traceparent

MAX_SECONDS = 86_400.0
MAX_ID = 255
MAX_PARTS = 1_000  # of one message: the SDK copies and checks each with every event, 20,000 kept the loop for 4 s


def get_headers(context: ServerCallContext) -> Mapping[str, str]:
    """The headers of a call, lower case; none for a task that a restart takes up."""
    found: Mapping[str, str] = context.state.get("headers", {})
    return found


def parse_ask(message: A2AMessage, headers: Mapping[str, str]) -> Ask:
    """The question in a message: texts as they are, data as JSON, one under the other.

    Its task is the Ask's key, its context the session; `metadata.timeout_seconds` and `metadata.model` are read, and
    the header `Muster-Hop`. Raises the SDK's `ContentTypeNotSupportedError` for files and `InvalidParamsError` for what
    is wrong otherwise.
    """
    if message.role != Role.ROLE_USER:  # the SDK finds that out when the task has begun already
        raise InvalidParamsError(message="message.role: must be ROLE_USER.")
    if len(message.context_id) > MAX_ID:
        raise InvalidParamsError(message=f"message.contextId: must have at most {MAX_ID} characters.")
    if len(message.parts) > MAX_PARTS:
        raise InvalidParamsError(message=f"message.parts: must be at most {MAX_PARTS:,}.")
    texts = [_read_part(part, f"message.parts[{number}]") for number, part in enumerate(message.parts)]
    text = "\n".join(texts)
    if not text.strip():
        raise InvalidParamsError(message="message.parts: must contain text.")
    try:
        envelope = parse_hop(headers[HOP.lower()]) if HOP.lower() in headers else None
    except BadRequest as exc:
        raise InvalidParamsError(message=exc.detail) from exc
    metadata: dict[str, Any] = MessageToDict(message.metadata)
    return Ask(
        messages=(Message("user", text),),
        model=_parse_model(metadata.get("model")),
        session=message.context_id or None,
        seconds=_parse_seconds(metadata.get("timeout_seconds")),
        key=message.task_id or None,
        envelope=envelope,
        traceparent=traceparent.get(),
    )


def _read_part(part: Part, where: str) -> str:
    if part.HasField("text"):
        return part.text
    if part.HasField("data"):
        return json.dumps(_to_integers(MessageToDict(part.data)), ensure_ascii=False)
    raise ContentTypeNotSupportedError(message=f"{where}: this agent reads text and data, not files.")


def _to_integers(data: Any) -> Any:
    """Whole numbers as such: protobuf knows only floats."""
    if isinstance(data, dict):
        return {name: _to_integers(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_to_integers(value) for value in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data


def _parse_seconds(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= MAX_SECONDS:
        raise InvalidParamsError(
            message=f"message.metadata.timeout_seconds: must be above 0 and at most {MAX_SECONDS:.0f}."
        )
    return float(given)


def _parse_model(given: Any) -> str | None:
    if given is None or (isinstance(given, str) and given):
        return given
    raise InvalidParamsError(message="message.metadata.model: must be a name.")
