"""PURE: calls that a model writes as a tool's name and, after marks of any kind, its arguments.

In the marks of many models (`[TOOL_CALLS]weather[ARGS]{…}`, `<function=weather>`, `<invoke name="weather">`,
`>>>weather`, `to=functions.weather <|message|>{…}`, `<weather><city>Oslo</city></weather>`), after words (`Action:
weather`, `Action Input: …`), or as in programs: `weather(city="Oslo")`, `x = …`, `print(…)`, `[…]`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from itertools import islice

from pydantic import JsonValue

from shared.agent_loop.calls.actions import Action, Callables
from shared.agent_loop.calls.lenient_json import OPENING, end_of, read_json, read_value

LONGEST_GAP = 200  # characters between a name and its arguments
_MOST_NAMES = 64  # that are looked at in one reply
_MARKED = re.compile(
    r"(?:<function(?:=|\s+name=)|<invoke\s+name=|\[TOOL_CALLS\]|<tool_call>|<\|tool_call_begin\|>|>>>|\bto="
    r"|<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?|(?:^|\n)[ \t*]*(?:action|tool)[ *]*:)"
    r"[\s\"'*`]*(?P<name>[a-z_](?:[\w./-]*\w)?)",
    re.IGNORECASE,
)
_GIVEN = r"(?:action[ _])?(?:input|arguments?|args|kwargs|parameters)"
_GAP = re.compile(
    rf"(?::\d+|[\s*`\"'>:,=]|</?[^<>\n]{{1,60}}>|\[(?:ARGS|CALL_ID)\]\w*|{_GIVEN}\b|json\b)*", re.IGNORECASE
)
_BEFORE = ("json", "action input", "input", "arguments", "args", "kwargs", "parameters")  # arguments
_WORDS = re.compile(rf"[\s*`]*{_GIVEN}[ *]*:[ \t*`\"']*(?P<words>[^\s{{\[][^\n]*)", re.IGNORECASE)
_OPENED = re.compile(r"[\s\"'>]*")
_PAIR = re.compile(
    r"\s*(?:<arg_key>(?P<key>[^<]*)</arg_key>\s*<arg_value>"
    r"|<(?:(?:parameter|param|arg)(?:=|\s+name=))?[\"']?(?P<tag>[\w-]+)[\"']?>)\s*(?P<value>.*?)\s*(?:</[\w-]+>|\Z)",
    re.DOTALL,
)
_LEAD = re.compile(r"[ \t>*`\[-]*(?:(?:[a-z_]\w*\s*[:=]|print\(|await |<[^<>\n]{0,60}>)[ \t>*`\[]*)*", re.IGNORECASE)
_LAST_TAG = re.compile(r"</?[^<>\n]{1,60}>\Z")
_CALLED = re.compile(r"[*`]*(?:\.call)?\(")
_ARGUMENT_NAMED = re.compile(r"\s*\w+\s*(?:[:=]|\Z)")


@dataclass(frozen=True)
class NamedCall:
    """A call by name; `whole` says whether its end is there."""

    action: Action
    whole: bool = True


@dataclass(frozen=True)
class _Given:
    """What follows a name: arguments, and where they end."""

    data: JsonValue
    end: int
    whole: bool = True


def find_named_calls(text: str, known: Callables) -> list[NamedCall]:
    """Every call by name. Its arguments fit, or a mark says that a call is meant, then also of a tool there is not."""
    found, position = list[NamedCall](), 0
    for start, name, marked in _names(text, known):
        if start < position:
            continue
        tool, given = known.resolve(name), _find_arguments(text, start + len(name))
        if given is None and marked and tool and known.fits(tool, {}):
            given = _Given({}, start + len(name))
        fits = given is not None and isinstance(given.data, dict) and tool is not None and known.fits(tool, given.data)
        if given is not None and (marked or fits):
            found.append(NamedCall(known.call(name, given.data), given.whole))
            position = given.end
    return found or [NamedCall(call) for line in text.split("\n") for call in _parse_program_line(line, known)]


def may_be_named(text: str, known: Callables) -> int:
    """Where words must wait, because a call by name may begin there; the length of the text where none does."""
    for start, name, marked in _names(text, known):
        beside = text[start + len(name) :][:LONGEST_GAP]
        rest, pair = beside[_end(_GAP, beside) :], _PAIR.match(beside, _end(_OPENED, beside))
        if not rest or (marked and known.resolve(name)) or _may_be_arguments(rest, known):
            return start
        if pair and known.has_argument(pair["key"] or pair["tag"]):
            return start
    return len(text)


def _may_be_arguments(rest: str, known: Callables) -> bool:
    """Whether arguments begin here, or words before them, as far as one can see."""
    if rest[0] == "{":
        key = OPENING.match(rest)
        return key is None or not key["closed"] or known.has_argument(key["key"])
    return rest[0] == "<" or (rest[0] == "[" and "]" not in rest) or any(w.startswith(rest.lower()) for w in _BEFORE)


def is_program(line: str, known: Callables, *, ended: bool = False) -> bool:
    """Whether a line begins like a call in a program, as far as it goes; `ended`: no more of it comes."""
    name, opened, _ = line[_end(_LEAD, line) :][:100].partition("(")
    return (
        bool(line.strip()) and not ended
        if not name
        else known.begins(name.rstrip("*`").removesuffix(".call"), whole=bool(opened))
    )


def _names(text: str, known: Callables) -> list[tuple[int, str, bool]]:
    """Positions of names, and whether a mark before one says that it is called."""
    found = {m.start("name"): (m["name"], False) for m in islice(known.mentions(text), _MOST_NAMES)}
    found |= {m.start("name"): (m["name"], True) for m in islice(_MARKED.finditer(text), _MOST_NAMES)}
    return [(start, *found[start]) for start in sorted(found)]


def _find_arguments(text: str, start: int) -> _Given | None:
    """The arguments after a name: in tags, as JSON, or as words of which something says that they are arguments."""
    pairs, position = dict[str, JsonValue](), start + _end(_OPENED, text[start : start + LONGEST_GAP])
    while len(pairs) < _MOST_NAMES and (pair := _PAIR.match(text, position)):
        pairs[(pair["key"] or pair["tag"]).strip()] = read_value(pair["value"])
        position = pair.end()
    if pairs:
        return _Given(pairs, position, whole=text[position - 1 : position] == ">")
    at = start + _end(_GAP, text[start : start + LONGEST_GAP])
    if text[at : at + 1] == "{":
        end = end_of(text, at)
        data = read_json(text[at:end])
        return None if data is None else _Given(data, end or len(text), whole=end is not None)
    words = _WORDS.match(text, start, start + 20_000)
    return _Given(words["words"].strip(" \t`\"'"), words.end()) if words else None


def _parse_program_line(line: str, known: Callables) -> list[Action]:
    """The calls of a line that is calls, as programs have them, and nothing else."""
    line = _LAST_TAG.sub("", line[_end(_LEAD, line) :].rstrip("`;. \t")).rstrip("`;. \t]")
    names = [m for m in known.mentions(line) if line[: m.start()].rstrip()[-1:] in ("", ",")]
    opened = [(match, end) for match in names if (end := _CALLED.match(line, match.end()))]
    if not opened or opened[0][0].start() != 0:
        return []
    tools = [known.resolve(match["name"]) or "" for match, _ in opened]
    code = line
    for number in reversed(range(len(opened))):
        match, end = opened[number]
        code = f"{code[: match.start()]}tool_{number}({code[end.end() :]}"
    for tried in (code, f"{code})", code.removesuffix(")")):
        try:
            value = ast.parse(tried, mode="eval").body
            calls = value.elts if isinstance(value, ast.Tuple) else [value]
            return [_evaluate(call, tools, known) for call in calls]
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    if not line.endswith(")"):
        return []
    inside = line[opened[0][1].end() : -1].strip()
    return [known.call(tools[0], f"{{{inside}}}" if _ARGUMENT_NAMED.match(inside) else inside)]


def _evaluate(call: ast.expr, tools: list[str], known: Callables) -> Action:
    """A call of a program; raises ValueError if it is none, or its arguments are not values."""
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id.startswith("tool_")):
        raise ValueError
    tool = tools[int(call.func.id.removeprefix("tool_"))]
    named = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    placed = [ast.literal_eval(value) for value in call.args]
    if len(placed) == 1 and not named and isinstance(placed[0], dict):
        return known.call(tool, placed[0])
    wanted = known.specs[tool].schema.get("properties", {})
    return known.call(tool, dict(zip(wanted, placed, strict=False)) | named)


def _end(pattern: re.Pattern[str], text: str) -> int:
    """Where the beginning of a text that the pattern matches ends."""
    match = pattern.match(text)
    return match.end() if match else 0
