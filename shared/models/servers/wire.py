"""One call of OpenAI's chat API over HTTP: a body out, a reply in as it comes, streamed or whole."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import httpx
from httpx_sse import EventSource, SSEError

from shared.conversation import ToolCall
from shared.models.servers.fence import strip_marks
from shared.models.servers.refusals import Refusal, refusal
from shared.models.servers.thoughts import Speech
from shared.models.servers.turns import Hear

MAX_ERROR_BYTES = 64_000
MAX_CALLS = 200  # tools that one reply may want called


class RefusedCall(Exception):
    """The server answered with an error."""

    def __init__(self, found: Refusal) -> None:
        super().__init__(found.message)
        self.refusal = found


class BrokenReply(Exception):
    """The response is not a reply, or only the beginning of one."""


class Received:
    """What has come of one reply so far."""

    def __init__(self) -> None:
        self.note = ""  # a sentence about the server that people should read
        self.restart()

    def restart(self, *, holds: bool = False) -> None:
        """Forgets what has come: the call is made again."""
        self.speech = Speech(holds=holds)
        self.finish: str | None = None
        self.counted: dict[str, Any] = {}  # `usage`, as the server has it
        self.timings: dict[str, Any] = {}  # llama.cpp's
        self.pieces = 0  # of words and thoughts: about one a token, where it streams
        self.first: float | None = None
        self._calls: dict[int, dict[str, str]] = {}

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tools it wants called, each under an id of its own."""
        found, ids = list[ToolCall](), set[str]()
        for number, call in enumerate(self._calls.values()):
            id = call["id"] if call["id"] and call["id"] not in ids else f"call_{number}"
            ids.add(id)
            found.append(ToolCall(id, call["name"], strip_marks(call["arguments"]) or "{}"))
        return tuple(found)

    @property
    def cut(self) -> bool:
        """Whether its limit of tokens ended it."""
        return self.finish == "length"

    def take(self, message: Mapping[str, Any]) -> str:
        """A delta of a stream, or the one message of a whole answer; the words that are new."""
        words, thoughts = _parts(message.get("content"))
        for name in ("reasoning_content", "reasoning"):
            if isinstance(found := message.get(name), str) and found:
                thoughts += found
                break
        calls = message.get("tool_calls")
        if words or thoughts or calls:
            self.first = self.first or time.monotonic()
            self.pieces += 1
        if thoughts:
            self.speech.think(thoughts)
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                self._call(call)
        return self.speech.hear(words) if words else ""

    def _call(self, given: Mapping[str, Any]) -> None:
        """A part of a tool call. Some servers send no index, or the same one for every call."""
        index, id = given.get("index"), str(given.get("id") or "")
        last = len(self._calls) - 1
        number = index if isinstance(index, int) else (last if not id and last >= 0 else last + 1)
        if id and number in self._calls and self._calls[number]["id"] not in ("", id):
            number = last + 1
        if number not in self._calls and len(self._calls) >= MAX_CALLS:
            raise BrokenReply(f"it calls more than {MAX_CALLS} tools")
        call = self._calls.setdefault(number, {"id": "", "name": "", "arguments": ""})
        function = given.get("function")
        inner = function if isinstance(function, dict) else {}
        arguments = inner.get("arguments")
        call["id"] = call["id"] or id
        call["name"] += str(inner.get("name") or "")
        call["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""


async def exchange(
    http: httpx.AsyncClient, url: str, body: Mapping[str, Any], headers: Mapping[str, str], into: Received, tell: Hear
) -> None:
    """Sends one call; `tell` gets words as they come, but none of its thoughts.

    Raises RefusedCall, BrokenReply and the errors of httpx.
    """
    request = http.build_request("POST", f"{url}/chat/completions", json=body, headers=headers)
    response = await http.send(request, stream=True)
    try:
        if response.status_code != 200:
            raise RefusedCall(refusal(response.status_code, await _beginning(response), _retry_after(response)))
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            await _stream(response, into, tell)
        else:
            await response.aread()
            await _take(_object(response.text), into, tell, "message")
            into.finish = into.finish or "stop"
    finally:
        await response.aclose()
    if into.finish is None:
        raise BrokenReply("the reply was cut off")
    if words := into.speech.end():
        await tell(words)


async def _stream(response: httpx.Response, into: Received, tell: Hear) -> None:
    try:
        async for event in EventSource(response).aiter_sse():
            if event.data.strip() == "[DONE]":
                into.finish = into.finish or "stop"
                return
            if event.data.strip():
                await _take(_object(event.data), into, tell, "delta")
    except SSEError as exc:
        raise BrokenReply(str(exc)) from exc


async def _take(found: dict[str, Any], into: Received, tell: Hear, part: str) -> None:
    """A chunk, or the whole answer: one of both kinds may come where the other is expected."""
    if error := found.get("error"):
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        raise RefusedCall(refusal(status, json.dumps(found)))
    if isinstance(found.get("usage"), dict):
        into.counted = found["usage"]
    if isinstance(found.get("timings"), dict):
        into.timings = found["timings"]
    choices = found.get("choices")
    if not isinstance(choices, list):
        if part == "message":
            raise BrokenReply("it is not a chat completion")
        return
    choice = choices[0] if choices else {}
    if isinstance(choice, dict):
        message = choice.get(part) or choice.get("message") or choice.get("delta")
        if isinstance(message, dict):
            await tell(into.take(message))
        into.finish = choice.get("finish_reason") or into.finish


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise BrokenReply("it is not JSON") from exc
    if not isinstance(found, dict):
        raise BrokenReply("it is not a JSON object")
    return found


def _parts(content: Any) -> tuple[str, str]:
    """Words and thoughts of a content that is a text, or a list of parts."""
    if isinstance(content, str):
        return content, ""
    words = thoughts = ""
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and isinstance(text := part.get("text"), str):
            words += text
        elif isinstance(part, dict) and part.get("thinking"):
            thoughts += _parts(part["thinking"])[0]
    return words, thoughts


async def _beginning(response: httpx.Response) -> str:
    found = b""
    async for piece in response.aiter_bytes():
        found += piece
        if len(found) > MAX_ERROR_BYTES:
            break
    return found[:MAX_ERROR_BYTES].decode(errors="replace")


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, from `retry-after-ms` or `Retry-After`; a date is not believed."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(response.headers[name]) * scale
        except (KeyError, ValueError):
            continue
        if seconds >= 0:
            return seconds
    return None
