"""PURE: a step as an OpenAI chat request, and the completion, whole or in chunks, as the step's result."""

from __future__ import annotations

import hashlib
from typing import Any

from coordinator.agent_calls.foreign_prompt import (
    ForeignCall,
    authorize,
    complete,
    describe_role,
    dump_json,
    find_reason,
    write_brief,
)
from shared.contracts import MAX_COUNT, Missing, Registration, StepRequest, StepResult, Usage
from shared.conversation import CUT
from shared.errors import AgentFailed, AgentLost, AgentRefused, BadResponse
from shared.strict_json import strict_json

DONE = "[DONE]"


def wants_stream(registration: Registration) -> bool:
    """Whether to ask the agent for a stream: `metadata.stream` of its registration, as not every server can."""
    return registration.metadata.get("stream") is True


def build_call(request: StepRequest, registration: Registration, *, max_tokens: int | None = None) -> ForeignCall:
    """`POST /v1/chat/completions` for a step; `metadata.model` of the registration is the model, else its name."""
    endpoint = registration.endpoint.removesuffix("/v1")
    url = f"{endpoint}/v1/chat/completions"
    model = registration.metadata.get("model")
    body: dict[str, Any] = {
        "model": model if isinstance(model, str) and model else registration.name,
        "messages": [
            {"role": "system", "content": describe_role(registration, request)},
            {"role": "user", "content": write_brief(request)},
        ],
        "stream": wants_stream(registration),
    }
    if body["stream"]:
        body["stream_options"] = {"include_usage": True}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    said = dump_json(body)
    # the body is part of the key: servers that check keys refuse a known key with another body
    key = f"{request.task_id}/{request.step_id}/{hashlib.sha256(said).hexdigest()[:8]}"
    return ForeignCall(url, said, {"Idempotency-Key": key, **authorize(registration, url)})


def parse_result(request: StepRequest, body: bytes) -> StepResult:
    """The result in a whole completion; raises a `StepFailure` if it has no answer."""
    data = _parse_object(body)
    if data.get("error"):
        raise AgentFailed(f"The agent returned an error: {find_reason(data)}")
    choice = _find_choice(data)
    message = choice.get("message") if choice else None
    if not isinstance(message, dict):
        raise BadResponse("The agent's response is not a chat completion: choices.0.message is missing.")
    return _finish(request, _read_content(message), message, choice, _read_usage(data))


class Chunks:
    """A completion that arrives in chunks."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._finish: str | None = None
        self._usage = Usage()
        self.characters = 0
        self.done = False

    def add(self, data: str) -> None:
        """Adds the next event's data; raises a `StepFailure` unless it is a chunk."""
        if data.strip() == DONE:
            self.done = True
            return
        chunk = _parse_object(data.encode("utf-8", "replace"))
        if chunk.get("error"):
            raise AgentFailed(f"The agent's stream ended with an error: {find_reason(chunk)}")
        if isinstance(chunk.get("usage"), dict):
            self._usage = _read_usage(chunk)
        choice = _find_choice(chunk)
        if choice is None:
            return
        delta = choice.get("delta")
        text = _read_content(delta) if isinstance(delta, dict) else ""
        self._said.append(text)
        self.characters += len(text)
        if isinstance(choice.get("finish_reason"), str):
            self._finish = choice["finish_reason"]

    def to_result(self, request: StepRequest) -> StepResult:
        """The result of a stream that has ended; raises `AgentLost` if it was cut off."""
        if not self.done and self._finish is None:
            raise AgentLost("The agent's stream ended before the answer was complete.")
        return _finish(request, "".join(self._said), {}, {"finish_reason": self._finish}, self._usage)


def _finish(
    request: StepRequest, text: str, message: dict[str, Any], choice: dict[str, Any] | None, usage: Usage
) -> StepResult:
    finish = (choice or {}).get("finish_reason")
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        raise AgentRefused(f"The model refused: {message['refusal'][:500]}")
    if finish == "content_filter":
        raise AgentRefused("The answer was blocked by a content filter.")
    if not text.strip():
        if finish in ("tool_calls", "function_call"):
            raise BadResponse("The agent asks its caller to run tools, which is not supported.")
        raise BadResponse(f"The agent's answer is empty (finish_reason {finish!r}).")
    cut = [Missing(what=f"{CUT}{request.step_id}", why="The answer was truncated at its length limit.")]
    return complete(request, text, usage=usage, missing=cut if finish == "length" else [])


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        data = strict_json(body)
    except ValueError as exc:
        raise BadResponse(
            f"The agent's response is not a chat completion: {body[:200].decode(errors='replace')!r}"
        ) from exc
    if not isinstance(data, dict):
        raise BadResponse("The agent's response is not a chat completion: not a JSON object.")
    return data


def _find_choice(data: dict[str, Any]) -> dict[str, Any] | None:
    choices = data.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return None


def _read_content(message: dict[str, Any]) -> str:
    """The text of a message: a string, or the text parts of a list."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str))
    return content if isinstance(content, str) else ""


def _read_usage(data: dict[str, Any]) -> Usage:
    """The usage that the agent reports; impossible counts are 0."""
    said = data.get("usage")
    said = said if isinstance(said, dict) else {}

    def count(name: str) -> int:
        value = said.get(name)
        return min(value, MAX_COUNT) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

    return Usage(input_tokens=count("prompt_tokens"), output_tokens=count("completion_tokens"))
