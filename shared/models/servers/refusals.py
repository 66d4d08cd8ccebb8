"""PURE: what a model server's error means, in the words of the servers that people have."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

SHOWN_CHARACTERS = 500  # of a foreign error, in ours
_FORMAT = re.compile(r"response_?format|json_?\s?schema|json_object|grammar|structured[ _]output|guided", re.IGNORECASE)
_LIMIT = re.compile(
    r"maximum context length is (\d+)|n_ctx\D{0,4}(\d+)|context (?:size|length|window)\D{0,40}?(\d{3,})", re.IGNORECASE
)
_CONTEXT = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|context (?:size|length|window)|"
    r"prompt is too long",
    re.IGNORECASE,
)
_TOOLS = re.compile(
    r"(does|do) not support (the )?(tool|function)"
    r"|(tools?|function.?call\w*|tool.?choice\w*) (is|are) not (supported|allowed|enabled)"
    r"|not support\w* tools?|tools? not supported|tools param requires|enable-auto-tool-choice|requires? --jinja",
    re.IGNORECASE,
)
REPLY_FIELDS = ("max_tokens", "max_completion_tokens")  # old, and what OpenAI's thinking models want
FIELDS = ("temperature", "top_p", "seed", "stop", "stream_options", *REPLY_FIELDS)


@dataclass(frozen=True)
class Refusal:
    """An error answer: its HTTP status, its words, and in how many seconds it may be asked again, where it says so."""

    status: int
    message: str
    body: str = ""
    retry_after: float | None = None

    @property
    def refused(self) -> bool:
        """Whether the body of the call was at fault, as far as the status tells."""
        return self.status in (400, 422, 500, 501)

    @property
    def of_format(self) -> bool:
        """Whether it does not know the `response_format`, or cannot follow it."""
        return self.refused and bool(_FORMAT.search(self.body))

    @property
    def of_tools(self) -> bool:
        """Whether the model cannot be given tools."""
        return self.refused and bool(_TOOLS.search(self.body))

    @property
    def of_context(self) -> bool:
        """Whether the prompt is longer than what it reads."""
        return self.status in (400, 413, 422, 500) and bool(_CONTEXT.search(self.body))

    @property
    def context(self) -> int | None:
        """How many tokens it reads and writes at the most, where it says so."""
        found = _LIMIT.search(self.body)
        return int(next(number for number in found.groups() if number)) if found else None

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a body that it speaks of."""
        if self.status not in (400, 422):
            return frozenset()
        return frozenset(name for name in FIELDS if re.search(rf"\b{name}\b", self.body))

    @property
    def loading(self) -> bool:
        """Whether it is only not ready yet (llama.cpp: 503 "Loading model")."""
        return self.status == 503 and "loading" in self.body.lower()

    @property
    def passing(self) -> bool:
        """Whether the same call may do a moment later."""
        return self.status == 429 or self.status >= 500


def refusal(status: int, body: str, retry_after: float | None = None) -> Refusal:
    """An error answer read: OpenAI's `{"error": {"message"}}`, Ollama's `{"error": "…"}`, a `detail`, or text."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        found = None
    error = found.get("error", found.get("detail", found.get("message"))) if isinstance(found, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    text = said if isinstance(said, str) else body
    return Refusal(status, " ".join(text.split())[:SHOWN_CHARACTERS] or f"HTTP {status}", body[:20_000], retry_after)
