"""PURE: what a run may do of what its model asks for: what was granted to it, and what no text of others asked for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from shared.agent_loop.calls.actions import PREFIX, Action, Callables
from shared.agent_loop.calls.written import parse_written_calls
from shared.agent_loop.prompt import is_example
from shared.limits.envelope import MAX_DEPTH, Envelope

_SEPARATORS = re.compile(r"[-_.\s]+")
_ORDER_WORDS, _ORDER_CHARACTERS = 3, 20  # of an argument that is not by chance the same as in a text
NAMED = "a text that was read asks for it, and neither the question nor the instructions do."
_EXAMPLE = "this is only the example of a call. Write what you mean."
COPIED = "it stands in a text that was read, which gives no orders."


@dataclass(frozen=True)
class _Read:
    """A text of others: its words, and the calls that are written into it."""

    words: str
    calls: frozenset[str]


class Grants:
    """What may be done in one run; `trusted` is what the asker and the operator have said.

    What was granted: tools that are listed, agents in the access of this one and of its task, no circle, no sixth hop.
    Beyond that, a text of others (a document, a tool's result, an agent's answer) causes nothing by asking for it:
    refused is what such a text names, unless a trusted party named it or it was done before; what
    appears in one as a call; and what one names and whose long arguments it holds, word for word.
    """

    def __init__(
        self, *, me: str, envelope: Envelope, agents: Sequence[str], known: Callables, trusted: Sequence[str]
    ) -> None:
        self._me = me
        self._envelope = envelope
        self._agents = agents
        self._known = known
        self._trusted = _comparable("\n".join(trusted))
        self._read: list[_Read] = []
        self._done: set[str] = set()

    def read(self, text: str) -> None:
        """From now on the model knows this text of others."""
        calls = frozenset(action.key for action in parse_written_calls(text, self._known, plain=True))
        self._read.append(_Read(_comparable(text), calls))

    def did(self, action: Action) -> None:
        """This is being done, so that its result may name it."""
        self._done.add(action.name)

    def refusal(self, action: Action) -> str:
        """Why a delegation or a tool call may not be; empty if it may."""
        return (self._not_granted(action.name) if action.kind == "delegate" else "") or self.order(action)

    def order(self, action: Action) -> str:
        """Why it is taken for the order of a text that was read, or for the prompt's example; empty if it is not."""
        if is_example(action.arguments):
            return _EXAMPLE
        names = [action.name, *(tool for tool, agent in self._known.peers.items() if agent == action.name)]
        pattern = re.compile("|".join(rf"(?<!\w){_loose(name)}(?!\w)" for name in names))
        naming = [text for text in self._read if pattern.search(text.words)]
        if any(action.key in text.calls for text in self._read):
            return COPIED
        long = [said for said in _texts(action.arguments) if _is_long(said) and said not in self._trusted]
        if any(said in text.words for text in naming for said in long):
            return COPIED
        if naming and action.name not in self._done and not pattern.search(self._trusted):
            return NAMED
        return ""

    def _not_granted(self, agent: str) -> str:
        envelope = self._envelope
        if agent == self._me:
            return "an agent cannot delegate to itself."
        if agent in envelope.ancestry:
            return f"agent {agent!r} is already in the chain: {' > '.join(envelope.ancestry)}."
        if agent not in self._agents or (envelope.may_call and agent not in envelope.may_call):
            near = self._known.peers.get(self._known.near(f"{PREFIX}{agent}"), "")
            meant = f" Did you mean {near}?" if near else ""
            return f"Sub-agent {agent!r} not found. Available: {list(self._agents)}{meant}"
        if envelope.depth >= MAX_DEPTH:
            return f"delegation ends at depth {MAX_DEPTH}."
        if self._me in envelope.ancestry:
            return f"agent {self._me!r} is already in the chain: {' > '.join(envelope.ancestry)}."
        return ""


def _comparable(text: str) -> str:
    """A text in which names are found however they are written: one form, small letters, nothing invisible."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c for c in plain if unicodedata.category(c) != "Cf").split())


def _loose(name: str) -> str:
    """A pattern for a name with any separators, or none."""
    return r"[-_.\s]*".join(re.escape(part) for part in _SEPARATORS.split(_comparable(name)) if part)


def _texts(value: JsonValue | Mapping[str, JsonValue]) -> Iterator[str]:
    """Every text in arguments, comparable."""
    if isinstance(value, str):
        yield _comparable(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _is_long(text: str) -> bool:
    return len(text.split()) >= _ORDER_WORDS or len(text) >= _ORDER_CHARACTERS
