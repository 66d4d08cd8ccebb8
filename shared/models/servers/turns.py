"""PURE: what goes to a model and what comes back: tools, how a reply is drawn, one reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from shared.contracts import Usage
from shared.conversation import ToolCall
from shared.models.servers.pace import Room

Hear = Callable[[str], Awaitable[None]]
Shape = TypeVar("Shape", bound=BaseModel)
SoFar = Callable[[Shape], Awaitable[None]]


@dataclass(frozen=True)
class ToolSpec:
    """A tool as a model sees it; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})


@dataclass(frozen=True)
class Sampling:
    """How a caller wants a reply drawn, by the fields of OpenAI's chat API; None or empty: as the settings say.

    `max_tokens` is one bound more; the smallest holds. `exact`: where neither caller nor settings say a temperature,
    a low one, as for answers that have a form.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    exact: bool = False


AS_SET = Sampling()


@dataclass(frozen=True)
class ModelReply:
    """One reply of a model: words, tools it wants called, what it cost, and whether its limit of tokens cut it.

    What it thought is in none of them. `note` is a sentence about its server that people should read.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    cut: bool = False
    note: str = ""


@dataclass(frozen=True)
class Blank(Generic[Shape]):
    """A shape that a model is to fill about `data`, with so many tokens at the most."""

    data: str
    shape: type[Shape]
    max_tokens: int


FitBlank = Callable[[Room], Awaitable[Blank[Shape]]]


@dataclass(frozen=True)
class Filled(Generic[Shape]):
    """A shape that a model has filled; `cut` says why some of it may be missing, empty where all is there."""

    value: Shape
    usage: Usage = field(default_factory=Usage)
    cut: str = ""
    note: str = ""
