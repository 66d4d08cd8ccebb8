"""PURE: one call to a model as its callers state it, and the body of OpenAI's chat API that goes out for it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.conversation import Message
from shared.models.servers.abilities import Abilities
from shared.models.servers.pace import Room
from shared.models.servers.turns import AS_SET, Sampling, ToolSpec

MESSAGE_CHARACTERS = 16  # that a template puts around a message, about
TOOL_CHARACTERS = 120
TRIES = 3


@dataclass(frozen=True)
class ModelRequest:
    """A conversation with its instructions; `reply_tokens` is what an answer may have, its thoughts aside.

    `format` is the `response_format` of a shape; a server that refuses it gets a weaker one or none. Where `fit` is
    there, it makes the call that is sent, of what fits into the time that is left when its turn has come; till then
    `least_characters` stand for what it will add.
    """

    instructions: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec] = ()
    sampling: Sampling = AS_SET
    format: Mapping[str, Any] | None = None
    reply_tokens: int = 2_000
    tries: int = TRIES
    fit: FitRequest | None = None
    least_characters: int = 0

    @property
    def characters(self) -> int:
        """Of all that the model reads, about."""
        said = sum(
            len(m.content) + sum(len(c.name) + len(c.arguments) for c in m.tool_calls) + MESSAGE_CHARACTERS
            for m in self.messages
        )
        tools = sum(len(json.dumps(t.schema)) + len(t.name) + len(t.description) + TOOL_CHARACTERS for t in self.tools)
        return len(self.instructions) + said + tools + self.least_characters


FitRequest = Callable[[Room], Awaitable[ModelRequest]]


def body(asked: ModelRequest, known: Abilities, *, model: str, reply: int, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the call, without what the server is known to refuse; `extra` has the last word."""
    wants = asked.sampling
    found: dict[str, Any] = {
        "model": model,
        "messages": list(_messages(asked)),
        "stream": True,
        "stream_options": {"include_usage": True},
        known.reply_field: reply,
        "temperature": wants.temperature,
        "top_p": wants.top_p,
        "seed": wants.seed,
        "stop": list(wants.stop) or None,
        "response_format": _format(asked, known),
        "tools": [_tool(tool) for tool in asked.tools] or None,
    }
    return {name: value for name, value in found.items() if value is not None and name not in known.left_out} | {
        **extra
    }


def _format(asked: ModelRequest, known: Abilities) -> Mapping[str, Any] | None:
    if asked.format is None:
        return asked.sampling.response_format
    if known.format == "json_schema":
        return asked.format
    return {"type": "json_object"} if known.format == "json_object" else None


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}


def _messages(asked: ModelRequest) -> Iterator[dict[str, Any]]:
    """One system message, which comes first: chat templates answer 500 to a second one or a later one.

    What a user says in several messages in a row becomes one, for there are templates that want turns to alternate.
    """
    system = [asked.instructions, *(m.content for m in asked.messages if m.role == "system")]
    if said := "\n\n".join(part.strip() for part in system if part.strip()):
        yield {"role": "system", "content": said}
    waiting: list[str] = []
    for message in asked.messages:
        if message.role in ("user", "task-delegation"):
            waiting.append(message.content)
            continue
        if message.role == "system":
            continue
        if waiting:
            yield {"role": "user", "content": "\n\n".join(waiting)}
            waiting = []
        if message.role == "tool":
            yield {"role": "tool", "tool_call_id": message.tool_call_id or "", "content": message.content}
        else:
            yield _assistant(message)
    if waiting:
        yield {"role": "user", "content": "\n\n".join(waiting)}


def _assistant(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": message.content}
    if message.tool_calls:
        said["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.tool_calls
        ]
    return said
