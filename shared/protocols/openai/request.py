"""PURE: the body of POST /v1/chat/completions, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StringConstraints,
    model_validator,
)

from shared.contracts import MAX_TIMEOUT_SECONDS
from shared.conversation import ASKING, Ask, Message, Role, ToolCall
from shared.errors import Invalid

# How a reply is drawn: the generic agent passes them on to its model. `max_tokens` is the old name of the last.
OPTIONS = (
    "temperature",
    "top_p",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "response_format",
    "max_completion_tokens",
)
MOST_STOPS = 16
ROLES: dict[str, Role] = {"developer": "system"}
_SPOKEN = {"text": "text", "refusal": "refusal"}  # kinds of content parts, and where their words are

Text = Annotated[str, StringConstraints(strict=True)]
Short = Annotated[str, StringConstraints(strict=True, max_length=255)]


def _to_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Function(_Open):
    name: Short
    arguments: Text = ""


class _ToolCall(_Open):
    id: Short = ""
    function: _Function


class _Turn(_Open):
    role: Literal["system", "developer", "user", "assistant", "tool", "task-delegation"]
    content: JsonValue = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: Short | None = None


class _StreamOptions(_Open):
    include_usage: StrictBool | None = None


class _Format(_Open):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _check_schema(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is wanted with this type")
        return self


class ChatBody(_Open):
    """A chat request (https://platform.openai.com/docs/api-reference/chat/create); fields not named here may be there.

    `session_id` and `timeout_seconds` are ours: the conversation's id, and how long the answer may take.
    """

    messages: list[_Turn] | None = None
    model: Short | None = None
    stream: StrictBool | None = None
    stream_options: _StreamOptions | None = None
    n: StrictInt | None = None
    modalities: list[Text] | None = None
    audio: JsonValue = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=True)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, strict=True)] | None = None
    seed: StrictInt | None = None
    stop: Annotated[list[Text], Field(max_length=MOST_STOPS), BeforeValidator(_to_list)] | None = None
    response_format: _Format | None = None
    max_tokens: Annotated[int, Field(ge=1, strict=True)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, strict=True)] | None = None
    session_id: Short | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS, strict=True)] | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk of usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


def parse_ask(body: ChatBody, *, session: str | None, key: str | None, traceparent: str | None) -> Ask:
    """What a body asks for; raises `Invalid` for what is not there, and for what Muster cannot do.

    Work under a `key` goes on without its client, who will be back.
    """
    _check_possible(body)
    messages = [_parse_message(turn, f"/messages/{i}") for i, turn in enumerate(body.messages or ())]
    if not messages:
        raise make_refusal("/messages", "messages are required")
    if not any(m.role in ASKING for m in messages):
        raise make_refusal("/messages", "No user or task-delegation message found")
    given: Mapping[str, Any] = body.model_dump(exclude_none=True, include=set(OPTIONS)) | (body.model_extra or {})
    more: Mapping[str, Any] = {"max_completion_tokens": body.max_tokens, **given}
    return Ask(
        messages=tuple(messages),
        model=body.model or None,
        session=session or body.session_id or None,
        seconds=body.timeout_seconds,
        key=key,
        stays=key is not None,
        traceparent=traceparent,
        options={name: more[name] for name in OPTIONS if more.get(name) is not None},
    )


def make_refusal(pointer: str, why: str) -> Invalid:
    """The error for one field of a body."""
    return Invalid(why, [{"pointer": pointer, "detail": why}])


def _check_possible(body: ChatBody) -> None:
    if body.n is not None and body.n != 1:
        raise make_refusal("/n", f"n must be 1, not {body.n}: each request gets one answer.")
    if body.audio is not None:
        raise make_refusal("/audio", "audio is not supported: answers are text.")
    for i, kind in enumerate(body.modalities or ()):
        if kind != "text":
            raise make_refusal(f"/modalities/{i}", f"{kind!r} is not supported: answers are text.")


def _parse_message(turn: _Turn, at: str) -> Message:
    role: Role = ROLES.get(turn.role) or turn.role  # type: ignore[assignment]
    if turn.content is None and role != "assistant":
        raise make_refusal(f"{at}/content", f"content of a message of role {turn.role!r} must not be null.")
    return Message(
        role=role,
        content=_join_parts(turn.content, f"{at}/content"),
        tool_calls=tuple(ToolCall(c.id, c.function.name, c.function.arguments) for c in turn.tool_calls or ()),
        tool_call_id=turn.tool_call_id,
    )


def _join_parts(content: JsonValue, at: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise make_refusal(at, "content must be a string or a list of parts.")
    return "\n".join(_read_part(part, f"{at}/{i}") for i, part in enumerate(content))


def _read_part(part: JsonValue, at: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        raise make_refusal(at, 'each part of content must be an object like {"type": "text", "text": "…"}.')
    if kind not in _SPOKEN:
        raise make_refusal(f"{at}/type", f"{kind[:60]!r} is not supported: only text is accepted.")
    words = part.get(_SPOKEN[kind])
    if not isinstance(words, str):
        raise make_refusal(f"{at}/{_SPOKEN[kind]}", f"{_SPOKEN[kind]} must be a string.")
    return words
