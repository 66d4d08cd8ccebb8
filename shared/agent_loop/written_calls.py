"""PURE: calls that a model writes into its text, in the many ways in which models do.

KAOS's fenced blocks and JSON (`{"agent", "task"}`, `{"tool", "arguments"}`, `{"tool_calls"}`, `{}`); what models were
trained to write: `{"name", "arguments"}` bare, in a list, in a fence or in tags (`<tool_call>`, `[TOOL_CALLS]`),
`{"function": …}` and "parameters", arguments as JSON in a text, `<function=name>`; and `name(argument="…")`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from shared.agent_loop.actions import CUT_OFF, VERY_NEAR, Action, Callables, delegation
from shared.agent_loop.lenient_json import end_of, read_json

_BLOCKS = {"```delegate": "delegate", "```tool_call": "tool"}
_NAMES = ("name", "tool", "tool_name", "function", "function_name", "action")
_ARGUMENTS = ("arguments", "parameters", "args", "input", "action_input")
_WRAPPERS = ("tool_calls", "tool_call", "function_call", "calls")
_KEYS = (*_NAMES, *_ARGUMENTS, *_WRAPPERS, "agent", "task", "id", "type")
_TAGS = ("<tool_call", "<function", "<|tool_call", "<|python_tag|>", "<|start_header", "<invoke", "[tool_calls]")
_WRAP = r"</?[|\w=-]+>|\[/?TOOL_CALLS\]|```\w*"
_LEFTOVERS = re.compile(_WRAP, re.IGNORECASE)
_LEAD = re.compile(rf"\s*(?:(?:{_WRAP})\s*)*", re.IGNORECASE)
_CLOSING = re.compile(r"\n```|</|\[/")
_INLINE = re.compile(r"<function=([^>\s]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\s]+)>\s*(.*?)\s*(?:</parameter>|\Z)", re.DOTALL)
_OPENING = re.compile(r"[{\[]\s*(?:[{\[]\s*)*(?:[\"'](?P<key>[^\"'{}\[\]\n]{0,80})(?P<closed>[\"'])?)?")
_CALL = re.compile(r"[ \t>*`-]*(?P<name>[\w.-]+)\((?P<inside>.*)\)[`.; \t]*", re.DOTALL)
_FENCE = re.compile(r"```(\w*)[ \t]*(\n\s*)?")
_CODE = ("", "json", "tool", "tools", "tool_call", "tool_calls", "tool_code", "xml", "delegate", "text", "plaintext")
_LONGEST_OPENING = 200  # characters after which something that may be the beginning of a call is taken for one
_MOST_PIECES = 64  # of JSON that are looked at in one reply


def written(text: str, known: Callables, *, plain: bool, cut: bool = False) -> list[Action]:
    """What a reply asks for; empty where it is an answer. Without `plain` only KAOS's blocks count.

    Where the reply is calls and nothing else, an unknown name is an `invalid` action; beside other things it is words.
    With `cut` (the reply reached its limit of tokens) a call without its end is `invalid`.
    """
    if found := [action for kind, data in _blocks(text) if (action := _block(kind, data, known))]:
        return found
    if not plain:
        return []
    if inline := [_inline(match, known) for match in _INLINE.finditer(text)]:
        return inline
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
    return actions or [action for line in text.split("\n") if (action := _signature(line, known))]


def held_from(text: str, known: Callables, *, begins: bool) -> int:
    """Where words must wait, because a call may begin there; the length of the text where none does.

    `begins`: the text is the beginning of a line, so that a call like `name(…)` may stand there.
    """
    position = 0
    while (found := _SUSPECT.search(text, position)) is not None:
        rest = text[found.start() : found.start() + 2 * _LONGEST_OPENING]
        if rest[0] == "\n":
            if _is_signature(rest[1:], known):
                return found.start() + 1
        elif _may_begin(rest, known):
            return found.start()
        position = found.start() + 1
    return 0 if begins and _is_signature(text, known) else len(text)


_SUSPECT = re.compile(r"[{\[<\n]|```|`{1,2}\Z")


@dataclass(frozen=True)
class _Piece:
    """JSON in a text: where it stands, and whether it was right as it stood."""

    start: int
    end: int
    data: JsonValue
    whole: bool


def _blocks(text: str) -> Iterator[tuple[str, JsonValue]]:
    """What stands in KAOS's fenced blocks: a line with the tag alone, JSON, a line of three backticks."""
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


def _pieces(text: str, known: Callables) -> Iterator[_Piece]:
    """Every JSON value of a text that may be a call; of a text that begins like JSON, that value whatever it is."""
    lead = _LEAD.match(text)
    position = lead.end() if lead else 0
    first = position
    for _ in range(_MOST_PIECES):
        match = _OPENING.search(text, position)
        if match is None:
            return
        start, position = match.start(), match.end()
        if start != first and not (match["closed"] and _is_key(match["key"], known)):
            continue
        end = end_of(text, start)
        closing = _CLOSING.search(text, start)
        stop = end or (closing.start() if closing else len(text))
        if (data := read_json(text[start:stop])) is not None:
            yield _Piece(start, stop, data, end is not None)
            position = max(position, stop)


def _without(text: str, pieces: list[_Piece]) -> str:
    kept, position = "", 0
    for piece in pieces:
        kept, position = kept + text[position : piece.start], piece.end
    return kept + text[position:]


def _entries(data: JsonValue, known: Callables) -> list[list[Action] | None]:
    """The calls of each object in a piece of JSON, None for one that is no call."""
    entries = data if isinstance(data, list) and data else [data]
    return [_entry(entry, known) if isinstance(entry, dict) else None for entry in entries]


def _entry(entry: dict[str, JsonValue], known: Callables) -> list[Action] | None:
    """The calls of one object; None if it is no call."""
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
        if meant in known.peers and "task" in entry:
            return [known.call(name, {"task": entry["task"]})]
        if meant is not None and len(entry) == 1 and not known.specs[meant].schema.get("required"):
            return [known.call(name, {})]
    if "tool" in entry and "arguments" in entry:
        return [Action("invalid", why="Invalid tool call: 'tool' must be a name and 'arguments' an object")]
    if len(entry) == 1 and (only := next(iter(entry))) in known.specs and isinstance(entry[only], dict | str):
        return [known.call(only, entry[only])]
    return None


def _asks(agent: JsonValue, task: JsonValue, known: Callables) -> Action:
    named = known.resolve(agent) if isinstance(agent, str) and agent not in known.peers.values() else None
    return delegation(known.peers.get(named or "", agent), task)


def _inline(match: re.Match[str], known: Callables) -> Action:
    """`<function=name>{…}</function>`, or with `<parameter=name>` tags inside."""
    if parameters := _PARAMETER.findall(match[2]):
        return known.call(match[1], {name: _value(value) for name, value in parameters})
    return known.call(match[1], match[2].strip() or "{}")


def _value(text: str) -> JsonValue:
    try:
        found: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found


def _signature(line: str, known: Callables) -> Action | None:
    """A line that is a call as programs write it, `name(city="Oslo")`, of a tool that there is."""
    match = _CALL.fullmatch(line)
    if match is None or match["name"] not in known.specs:
        return None
    inside = match["inside"].strip()
    if not inside:
        return known.call(match["name"], {})
    try:
        call = ast.parse(f"f({inside})", mode="eval").body
        assert isinstance(call, ast.Call)
        named = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
        placed = [ast.literal_eval(value) for value in call.args]
    except (ValueError, SyntaxError, AssertionError, RecursionError, MemoryError):
        return known.call(match["name"], f"{{{inside}}}")  # `task: "17 + 25"`, as the list of tools has it
    wanted = known.specs[match["name"]].schema.get("properties", {})
    return known.call(match["name"], dict(zip(wanted, placed, strict=False)) | named)


def _is_known(action: Action, known: Callables) -> bool:
    """Whether a call among other words is meant as one: its name is somebody's, or very near."""
    if action.kind == "tool" or action.name in known.peers.values():
        return True
    return bool(action.name) and bool(known.resolve(action.name) or known.near(action.name, cutoff=VERY_NEAR))


def _is_key(key: str, known: Callables) -> bool:
    return key in _KEYS or key in known.specs


def _may_begin(rest: str, known: Callables) -> bool:
    """Whether a call begins here, or may, as far as one can see."""
    if (fence := _FENCE.match(rest)) is not None or rest[0] == "`":
        if fence is None or fence.end() == len(rest) or fence[1] in ("delegate", "tool_call"):
            return True  # the rest of the line will tell, or has told
        rest = rest[fence.end() :] if fence[1] in _CODE else ""
    lower = rest[:20].lower()
    if rest[:1] in ("<", "[") and any(lower.startswith(tag) or tag.startswith(lower) for tag in _TAGS):
        return True
    opening = _OPENING.match(rest)
    if opening is None:
        return False
    if opening["closed"]:
        return _is_key(opening["key"], known)
    return opening.end() == len(rest) or opening.end() > _LONGEST_OPENING


def _is_signature(line: str, known: Callables) -> bool:
    """Whether a line begins like `name(`, as far as it goes."""
    line = line.lstrip(" \t>*`-")[:100].split("\n")[0]
    return bool(line) and any(line.startswith(f"{n}(") or f"{n}(".startswith(line) for n in known.specs)
