"""Replies from a script in the place of a model's, for tests and for trying things out."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import JsonValue

from shared.calls.noting import note
from shared.contracts import Usage
from shared.models.servers.asked import ModelRequest
from shared.models.servers.pace import Room
from shared.models.servers.turns import Hear
from shared.models.servers.wire import Received

OUT_OF_REPLIES = "[no more mock responses]"
MOST_PROMPT = 8_000  # tokens


def replies(text: str) -> tuple[JsonValue, ...]:
    """Scripted replies from a text: a JSON list, else the one JSON value or the one reply that it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return (text,)
    return tuple(found) if isinstance(found, list) else (found,)


class Script:
    """Gives these replies in turn: strings, `{"content", "tool_calls"}` objects, or other JSON as text."""

    def __init__(self, script: Sequence[JsonValue]) -> None:
        self._left = list(script)

    async def answer(
        self,
        asked: ModelRequest,
        into: Received,
        *,
        seconds: float,
        hear: Hear | None = None,
        progress: Hear | None = None,
    ) -> Usage:
        """The next reply, line by line; its tokens are its words."""
        with note("model", "scripted") as cost:
            cost.usage = await self._answer(asked, into, hear)
            return cost.usage

    async def _answer(self, asked: ModelRequest, into: Received, hear: Hear | None) -> Usage:
        if asked.fit is not None:
            asked = await asked.fit(Room(MOST_PROMPT, asked.reply_tokens))
        message = _message(self._left.pop(0) if self._left else OUT_OF_REPLIES)
        said = str(message["content"])
        for line in said.splitlines(keepends=True):
            if (words := into.take({"content": line})) and hear is not None:
                await hear(words)
        into.take({"tool_calls": message.get("tool_calls")})
        if (words := into.speech.end()) and hear is not None:
            await hear(words)
        into.finish = "stop"
        read = [asked.instructions, *(m.content for m in asked.messages)]
        return Usage(calls=1, input_tokens=sum(len(text.split()) for text in read), output_tokens=len(said.split()))


def _message(entry: JsonValue) -> dict[str, JsonValue]:
    if isinstance(entry, str):
        return {"content": entry}
    if not isinstance(entry, dict) or not isinstance(calls := entry.get("tool_calls"), list):
        return {"content": json.dumps(entry, ensure_ascii=False)}
    said = entry.get("content")
    return {"content": said if isinstance(said, str) else "", "tool_calls": [_call(*one) for one in enumerate(calls)]}


def _call(number: int, call: JsonValue) -> JsonValue:
    """A call as scripts write it: `{"id", "name", "arguments"}`, or with both inside `function` as on the wire."""
    given = call if isinstance(call, dict) else {}
    function = given.get("function")
    inner = function if isinstance(function, dict) else given
    arguments = inner.get("arguments", {})
    return {
        "index": number,
        "id": str(given.get("id") or f"call_{number}"),
        "function": {
            "name": str(inner.get("name", "")),
            "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
        },
    }
