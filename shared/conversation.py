"""PURE: what every protocol is translated to and from: a conversation in, pieces of an answer out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import JsonValue

from shared import rendering
from shared.contracts import NO_USAGE, Missing, Usage
from shared.limits.envelope import Envelope

Role = Literal["system", "user", "assistant", "tool", "task-delegation"]
ASKING: tuple[Role, ...] = ("user", "task-delegation")
CUT = "the end of "  # begins `Missing.what` where a model reached its limit of tokens in the middle of a text
UNANSWERED = "answer"  # `Missing.what` where the text only says why there is no answer; no memory keeps it as one


@dataclass(frozen=True)
class ToolCall:
    """A tool that a model wants called; `arguments` is JSON as text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Message:
    """One turn of a conversation. `developer` is `system` here; `task-delegation` is a peer's request."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True)
class Ask:
    """What a caller wants to know: the conversation so far, its last turn being the question.

    `model` is the name that was asked for, `session` the conversation's id, `seconds` the time it may take,
    `key` makes a repeat give the same answer, `mocks` replace the model's replies for this request alone.
    With `stays` the work goes on when the asker leaves, because the asker will come back with the key. `taken` says
    whether another process asks for it from now on.
    `envelope` is what the asker may still spend, where an agent asks; `traceparent` is W3C's. `quoted` are the parts of
    the messages that others wrote: documents, what steps before gave.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    session: str | None = None
    seconds: float | None = None
    key: str | None = None
    stays: bool = False
    taken: Callable[[], bool] = lambda: False
    mocks: tuple[JsonValue, ...] | None = None
    envelope: Envelope | None = None
    traceparent: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    quoted: tuple[str, ...] = ()

    @property
    def question(self) -> Message | None:
        """The last turn of a user or a delegating peer."""
        return next((m for m in reversed(self.messages) if m.role in ASKING), None)

    @property
    def text(self) -> str:
        """The question in words; empty if there is none."""
        return self.question.content if self.question is not None else ""

    @property
    def earlier(self) -> tuple[Message, ...]:
        """Every turn but the question, also those that were sent after it: a system message, say."""
        last = max((n for n, m in enumerate(self.messages) if m.role in ASKING), default=len(self.messages))
        return (*self.messages[:last], *self.messages[last + 1 :])


@dataclass(frozen=True)
class Delta:
    """The next words of the answer."""

    text: str


@dataclass(frozen=True)
class Note:
    """How far the work is: for people who watch, never part of the answer."""

    message: str
    fraction: float | None = None


@dataclass(frozen=True)
class Final:
    """The end of every answer: all its words (the deltas joined, if there were any), and what it cost.

    `data` is the answer as JSON where there is more than words; `task_id` the coordinator's task; `cut` says that the
    text ends in the middle, because a limit was reached. `answered` is False where the text admits that nothing
    answers, None if that was not judged; `confidence`, 0 to 1, is the share of the question that was found.
    """

    text: str
    usage: Usage = NO_USAGE
    missing: Sequence[Missing] = ()
    data: JsonValue = None
    task_id: str | None = None
    cut: bool = False
    answered: bool | None = None
    confidence: float = 0.0


Piece = Delta | Note | Final


@dataclass(frozen=True)
class Skill:
    """Something a service can do, as agent cards list it."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...] = ()
    input_schema: dict[str, Any] | None = None


class Face(Protocol):
    """What a service shows to every protocol."""

    name: str
    description: str
    version: str

    def skills(self) -> Sequence[Skill]:
        """What it can do now."""
        ...

    def models(self) -> Sequence[str]:
        """The names it answers to."""
        ...

    def answer(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """The answer in pieces, of which the last is the one `Final`. Closing it early ends the work (not if it stays).

        Raises MusterError: `ModelNotFound` for a name it does not answer to, `KeyReused` for a key that came with
        another question, and whatever stops the work.
        """
        ...


def is_cut(missing: Iterable[Missing]) -> bool:
    """Whether what is missing is the end of a text that reached its limit."""
    return any(m.what.startswith(CUT) for m in missing)


def spoken(output: JsonValue) -> str:
    """An output as words for people: a text as it is, a report's text, else what a plain report would say."""
    if isinstance(output, str):
        return output
    if isinstance(output, dict) and isinstance(output.get("report"), str):
        return str(output["report"])
    return rendering.to_markdown(rendering.plain_report("", "", {"answer": output}, []))
