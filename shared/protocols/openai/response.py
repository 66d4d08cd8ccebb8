"""PURE: the bodies of /v1 that go out: completions, chunks, models, errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from shared.conversation import Ask, Final
from shared.errors import Invalid, KeyReused, MusterError, Unavailable

OWNER = "muster"
DONE = b"data: [DONE]\n\n"
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
_TYPES = {429: "rate_limit_error"}


@dataclass(frozen=True)
class ChatAnswer:
    """What every body of one chat says about itself; `created` is Unix seconds."""

    id: str
    created: int
    model: str
    with_usage: bool = False

    def make_completion(self, ask: Ask, final: Final) -> dict[str, Any]:
        """The whole answer."""
        message = {"role": "assistant", "content": final.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _why_finished(final)}
        return (
            self._make_body("chat.completion", [choice]) | {"usage": count_usage(ask, final)} | describe_outcome(final)
        )

    def make_chunk(
        self, delta: dict[str, Any], *, finish: str | None = None, also: Mapping[str, Any] = MappingProxyType({})
    ) -> bytes:
        """The next piece of a streamed answer, as an event, with other fields beside it."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        more = {"usage": None} if self.with_usage else {}
        return encode_event(self._make_body("chat.completion.chunk", [choice]) | more | dict(also))

    def make_end(self, ask: Ask, final: Final) -> bytes:
        """The last events of a stream that went well."""
        costs = self._make_body("chat.completion.chunk", []) | {"usage": count_usage(ask, final)}
        return (
            self.make_chunk({}, finish=_why_finished(final), also=describe_outcome(final))
            + (encode_event(costs) if self.with_usage else b"")
            + DONE
        )

    def _make_body(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def _why_finished(final: Final) -> str:
    return "length" if final.cut else "stop"


def count_usage(ask: Ask, final: Final) -> dict[str, int]:
    """Tokens where a model counted them, else words."""
    prompt, completion = final.usage.input_tokens, final.usage.output_tokens
    if not prompt and not completion:
        prompt, completion = sum(len(m.content.split()) for m in ask.messages), len(final.text.split())
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def describe_outcome(final: Final) -> dict[str, Any]:
    """The field `muster`: of a task, whether it answered, and where its report and sources are; what is missing."""
    said: dict[str, Any] = {}
    if final.task_id is not None:
        said = {"answered": final.answered, "confidence": final.confidence, "task_id": final.task_id}
    if final.missing:
        said["missing"] = [missing.model_dump(mode="json") for missing in final.missing]
    return {"muster": said} if said else {}


def describe_model(name: str, *, created: int) -> dict[str, Any]:
    """One name that can be asked; `created` is Unix seconds."""
    return {"id": name, "object": "model", "created": created, "owned_by": OWNER}


def list_models(names: Sequence[str], *, created: int) -> dict[str, Any]:
    """The names that can be asked."""
    return {"object": "list", "data": [describe_model(name, created=created) for name in names]}


def choose_status(error: MusterError) -> int:
    """A field that is wrong is 400 here; 422 says that a key was used with another body."""
    return 400 if isinstance(error, Invalid) and not isinstance(error, KeyReused) else error.status


def make_headers(error: MusterError) -> dict[str, str]:
    """The error's own, and `x-should-retry: false` where work began: clients would send a failed chat twice more."""
    began = choose_status(error) >= 500 and (not isinstance(error, Unavailable) or "Location" in error.headers)
    return error.headers | ({"x-should-retry": "false"} if began else {})


def describe_error(error: MusterError) -> dict[str, Any]:
    """An error's body; `detail` says the same to clients that look there."""
    code = choose_status(error)
    said = {
        "message": error.detail,
        "type": _TYPES.get(code, "server_error" if code >= 500 else "invalid_request_error"),
        "param": _name_field(error),
        "code": _CODES.get(code, error.type),
    }
    return {"error": said, "detail": error.detail}


def _name_field(error: MusterError) -> str | None:
    """Which field: `/messages/0/content` is written `messages[0].content`."""
    if error.type == "model_not_found":
        return "model"
    if not isinstance(error, Invalid) or not error.members["errors"]:
        return None
    pointer = str(error.members["errors"][0]["pointer"])
    return re.sub(r"/(\d+)(?=/|\Z)", r"[\1]", pointer).replace("/", ".").removeprefix(".") or None


def encode_event(body: dict[str, Any]) -> bytes:
    """A body as a server-sent event."""
    return b"data: " + encode(body) + b"\n\n"


def encode(body: dict[str, Any]) -> bytes:
    """Compact JSON in ASCII: an agent may say what UTF-8 cannot."""
    return json.dumps(body, separators=(",", ":")).encode()
