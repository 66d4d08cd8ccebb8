"""OpenAI's answers as the OpenAPI document describes them."""

from __future__ import annotations

from shared.contracts import Missing
from shared.server.openapi import Described


class Model(Described):
    id: str
    object: str
    created: int
    owned_by: str


class ModelList(Described):
    object: str
    data: list[Model]


class ChatMessage(Described):
    role: str
    content: str
    refusal: str | None


class ChatChoice(Described):
    index: int
    message: ChatMessage
    finish_reason: str


class TokenUsage(Described):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatTask(Described):
    task_id: str | None = None
    answered: bool | None = None
    confidence: float | None = None
    missing: list[Missing] | None = None


class ChatCompletion(Described):
    id: str
    object: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage
    muster: ChatTask | None = None


class ErrorText(Described):
    message: str
    type: str
    param: str | None
    code: str


class ChatError(Described):
    """An error, as OpenAI's clients expect it."""

    error: ErrorText
    detail: str
