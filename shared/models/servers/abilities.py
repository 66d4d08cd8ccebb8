"""PURE: what is known of one model at one server: what it takes, and how much of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from shared.models.servers.refusals import REPLY_FIELDS, Refusal

ReplyFormat = Literal["json_schema", "json_object", "none"]
NEXT: dict[ReplyFormat, ReplyFormat] = {"json_schema": "json_object", "json_object": "none"}
THINKING_TOKENS = 1_024  # beside an answer, for a model that was seen thinking; doubled while its answers are cut
MOST_THINKING = 8_192


@dataclass(frozen=True)
class Abilities:
    """What has been learned; every change is a new value. `context` is in tokens, prompt and reply together."""

    format: ReplyFormat = "json_schema"
    left_out: frozenset[str] = frozenset()  # fields of the body that it refuses
    reply_field: str = "max_tokens"
    context: int | None = None
    tools: bool = True
    thinking: int = 0  # tokens that it may think, beside its answer
    opens_itself: bool = False  # its template begins its thoughts, so that only their end is marked

    def without(self, refusal: Refusal, sent: Collection[str], *, formatted: bool) -> Abilities:
        """What is to be sent after an error; itself where the error names nothing that was sent and can be left out."""
        if refusal.of_context:
            return self
        if refusal.of_format and formatted and self.format in NEXT:
            return replace(self, format=NEXT[self.format])
        if refusal.fields.issuperset(REPLY_FIELDS):  # "Use 'max_completion_tokens' instead."
            return replace(self, reply_field=next(name for name in REPLY_FIELDS if name != self.reply_field))
        return replace(self, left_out=self.left_out | (refusal.fields.intersection(sent) - {self.reply_field}))

    def reading(self, context: int | None) -> Abilities:
        """With a context of so many tokens, the smaller one where two are known."""
        if not context or context < 1:
            return self
        return replace(self, context=min(context, self.context or context))

    def thought(self, *, alone: bool, cut: bool) -> Abilities:
        """After a reply with thoughts; `cut` where they left no room for an answer."""
        more = min(MOST_THINKING, self.thinking * 2 if cut else self.thinking)
        return replace(self, thinking=max(THINKING_TOKENS, more), opens_itself=self.opens_itself or alone)
