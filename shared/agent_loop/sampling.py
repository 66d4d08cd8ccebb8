"""PURE: how the asker of a chat wants a reply drawn, from the options that came with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from shared.models.servers.turns import AS_SET, Sampling


class _Options(BaseModel):
    """OpenAI's names; https://platform.openai.com/docs/api-reference/chat/create."""

    model_config = ConfigDict(extra="ignore", strict=True)

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: list[str] = []
    seed: int | None = None
    response_format: dict[str, JsonValue] | None = None


def sampling_of(options: Mapping[str, Any]) -> Sampling:
    """What options ask for; else as the settings say, for any client may send a task's context."""
    try:
        found = _Options.model_validate(options)
    except ValidationError:
        return AS_SET
    return Sampling(
        temperature=found.temperature,
        top_p=found.top_p,
        max_tokens=found.max_completion_tokens,
        stop=tuple(found.stop),
        seed=found.seed,
        response_format=found.response_format,
    )
