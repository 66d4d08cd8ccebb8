"""PURE: calls that a model writes into its text, in the many ways in which models do.

KAOS's fenced blocks and JSON (`{"agent", "task"}`, `{"tool", "arguments"}`, `{"tool_calls"}`, `{}`); what models were
trained to write: `{"name", "arguments"}` bare, in a list, in a fence or in tags, `{"function": …}` and "parameters",
arguments as JSON in a text or beside the name; and calls by name (`named`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from shared.agent_loop.calls.actions import CUT_OFF, VERY_NEAR, Action, Callables, delegation
from shared.agent_loop.calls.lenient_json import OPENING, end_of, read_json
from shared.agent_loop.calls.named import find_named_calls

_BLOCKS = {"```delegate": "delegate", "```tool_call": "tool"}
_NAMES = ("name", "tool", "tool_name", "function", "function_name", "action", "call", "agent", "delegate_to")
_ARGUMENTS = ("arguments", "parameters", "args", "kwargs", "input", "tool_input", "action_input")
_WRAPPERS = ("tool_calls", "tool_call", "function_call", "calls")
_BESIDES = ("id", "type")
_KEYS = (*_NAMES, *_ARGUMENTS, *_WRAPPERS, "task", "id", "type")
_WRAP = r"</?[|\w=-]+>|\[/?TOOL_CALLS\]|```\w*"
_LEFTOVERS = re.compile(_WRAP, re.IGNORECASE)
_LEAD = re.compile(rf"\s*(?:(?:{_WRAP})\s*)*", re.IGNORECASE)
_CLOSING = re.compile(r"\n```|</|\[/")
_MOST_PIECES = 64  # of JSON that are looked at in one reply


def parse_written_calls(text: str, known: Callables, *, plain: bool, cut: bool = False) -> list[Action]:
    """What a reply asks for; empty where it is an answer. Without `plain` only KAOS's blocks count.

    Where the reply is calls and nothing else, an unknown name is an `invalid` action; beside other things it is words.
    With `cut` (the reply reached its limit of tokens) a call without its end is `invalid`.
    """
    if found := [action for kind, data in _blocks(text) if (action := _block(kind, data, known))]:
        return found
    if not plain:
        return []
    pieces = list(_pieces(text, known))
    alone = bool(pieces) and not _LEFTOVERS.sub("", _without(text, pieces)).strip(" \n\t,;.]}")
    entries = [(piece, calls) for piece in pieces for calls in _entries(piece.data, known)]
    only = alone and all(calls is not None for _, calls in entries)
    actions = [
        Action("invalid", action.name, why=CUT_OFF) if cut and not piece.whole else action
        for piece, calls in entries
        for action in calls or ()
        if only or _is_known(action, known)
    ]
    if actions:
        return actions
    named = find_named_calls(text, known)
    if not named and (only_name := _LEFTOVERS.sub("", text).strip(" \n\t`*.:")) in known.peers:
        return [known.call(only_name, {})]
    return [Action("invalid", one.action.name, why=CUT_OFF) if cut and not one.whole else one.action for one in named]


def is_key(key: str, known: Callables) -> bool:
    """Whether an object that has this key may be a call."""
    return key in _KEYS or known.resolve(key) is not None


@dataclass(frozen=True)
class _JsonPiece:
    """JSON in a text: its position, and whether it was valid as written."""

    start: int
    end: int
    data: JsonValue
    whole: bool


def _blocks(text: str) -> Iterator[tuple[str, JsonValue]]:
    """The content of KAOS's fenced blocks: a line with the tag alone, JSON, a line of three backticks."""
    kind, inside = "", [""]
    for line in text.split("\n"):  # splitlines would also split inside of JSON strings
        if not kind:
            kind, inside = _BLOCKS.get(line.rstrip(), ""), []
        elif line.rstrip() == "```":
            data = read_json("\n".join(inside))
            if data is not None:
                yield kind, data
            kind = ""
        else:
            inside.append(line)


def _block(kind: str, data: JsonValue, known: Callables) -> Action | None:
    if not isinstance(data, dict):
        return None
    if kind == "delegate":
        return _asks(data.get("agent"), data.get("task"), known)
    several = _entry(data, known)
    return several[0] if several else Action("invalid", why="Invalid tool call: 'tool' must be a name")


def _pieces(text: str, known: Callables) -> Iterator[_JsonPiece]:
    """Every JSON value of a text that may be a call; of a text that begins like JSON, that value whatever it is."""
    lead = _LEAD.match(text)
    position = lead.end() if lead else 0
    first = position
    for _ in range(_MOST_PIECES):
        match = OPENING.search(text, position)
        if match is None:
            return
        start, position = match.start(), match.end()
        if start != first and not (match["closed"] and is_key(match["key"], known)):
            continue
        end = end_of(text, start)
        closing = _CLOSING.search(text, start)
        stop = end or (closing.start() if closing else len(text))
        if (data := read_json(text[start:stop])) is not None:
            yield _JsonPiece(start, stop, data, end is not None)
            position = max(position, stop)


def _without(text: str, pieces: list[_JsonPiece]) -> str:
    kept, position = "", 0
    for piece in pieces:
        kept, position = kept + text[position : piece.start], piece.end
    return kept + text[position:]


def _entries(data: JsonValue, known: Callables) -> list[list[Action] | None]:
    """The calls of each object in a piece of JSON, None for one that is not a call."""
    entries = data if isinstance(data, list) and data else [data]
    return [_entry(entry, known) if isinstance(entry, dict) else None for entry in entries]


def _entry(entry: dict[str, JsonValue], known: Callables) -> list[Action] | None:
    """The calls of one object; None if it is not a call."""
    if not entry:
        return [Action("nothing")]
    for wrapper in _WRAPPERS:
        if isinstance(inside := entry.get(wrapper), dict | list) and inside:
            calls = [several for several in _entries(inside, known) if several is not None]
            none = None if wrapper == "calls" else [Action("invalid", why=f"There is no call in {wrapper!r}.")]
            return [action for several in calls for action in several] if calls else none
    if isinstance(entry.get("agent"), str | int | None) and "agent" in entry and "task" in entry:
        return [_asks(entry["agent"], entry["task"], known)]
    if isinstance(inner := entry.get("function"), dict):  # as on OpenAI's wire
        return _entry(inner, known)
    name = next((entry[key] for key in _NAMES if isinstance(entry.get(key), str)), None)
    given = next((key for key in _ARGUMENTS if key in entry), None)
    if isinstance(name, str) and name:
        meant = known.resolve(name)
        if given in _ARGUMENTS[:2] or (given is not None and (meant or known.near(name))):
            return [known.call(name, entry[given])]
        rest = {key: value for key, value in entry.items() if key not in _BESIDES and value != name}
        if meant is not None and known.fits(meant, rest):  # the arguments beside the name
            return [known.call(name, rest)]
    if "tool" in entry and "arguments" in entry:
        return [Action("invalid", why="Invalid tool call: 'tool' must be a name and 'arguments' an object")]
    if len(entry) == 1 and (only := next(iter(entry))) in known.specs and isinstance(entry[only], dict | str):
        return [known.call(only, entry[only])]
    return None


def _asks(agent: JsonValue, task: JsonValue, known: Callables) -> Action:
    named = known.resolve(agent) if isinstance(agent, str) and agent not in known.peers.values() else None
    return delegation(known.peers.get(named or "", agent), task)


def _is_known(action: Action, known: Callables) -> bool:
    """Whether a call among other words is meant as one: its name is a known one, or close to one."""
    if action.kind == "tool" or action.name in known.peers.values():
        return True
    return bool(action.name) and bool(known.resolve(action.name) or known.near(action.name, cutoff=VERY_NEAR))
