"""A call of a model, a tool or a search that a step made, as the step's answer tells of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

MAX_CALLS = 100  # that a step tells of
MAX_TOKENS = 10**12  # as much as the journal can sum up
Words = Annotated[str, StringConstraints(max_length=200)]


class Call(BaseModel):
    """`at` is when it began, in seconds since the step began at its agent; `error` says why nothing came of it."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    kind: Literal["model", "tool", "search"]
    name: Words
    at: Annotated[float, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]
    tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] = 0
    error: Words | None = Field(default=None, exclude_if=lambda why: why is None)


def _read(value: object, parse: ValidatorFunctionWrapHandler) -> list[Call]:
    """The first of them; none where they are not what they should be: what is only shown costs no step its result."""
    try:
        found: list[Call] = parse(value[:MAX_CALLS] if isinstance(value, list) else value)
    except ValidationError:
        return []
    return found


Calls = Annotated[list[Call], WrapValidator(_read)]
