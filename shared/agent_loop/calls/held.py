"""PURE: where the words of a reply must wait, because a call may begin there."""

from __future__ import annotations

import re

from shared.agent_loop.calls.actions import Callables
from shared.agent_loop.calls.lenient_json import OPENING, end_of
from shared.agent_loop.calls.named import is_program, may_be_named
from shared.agent_loop.calls.written import is_key

_TAGS = (
    "<tool", "</tool", "<function", "<invoke", "<minimax:tool", "<|tool", "<|python", "<|start_header", "<|channel",
    "<｜tool", "[tool_calls]",
)  # fmt: skip
_LABELS = ("action:", "tool:", ">>>")  # at the beginning of a line, before the name of a tool
_SUSPECT = re.compile(r"[{\[<\n]|```|`{1,2}\Z")
_FENCE = re.compile(r"```(\w*)[ \t]*(\n\s*)?")
_PROGRAMS = ("tool_code", "python", "py")
_CODE = (
    "", "json", "tool", "tools", "tool_call", "tool_calls", "xml", "delegate", "text", "plaintext", *_PROGRAMS,
)  # fmt: skip
_LAST_WORD = re.compile(r"[\w.-]+\Z")
_LONGEST_OPENING = 200  # characters after which something that may be the beginning of a call is taken for one


def held_from(text: str, known: Callables, *, begins: bool) -> int:
    """Where words must wait; the length of the text where none does.

    `begins`: the text is the beginning of a line, so that a call like `name(…)` may be there.
    """
    if begins and _line_calls(text, known):
        return 0
    last = _LAST_WORD.search(text, max(0, len(text) - _LONGEST_OPENING))
    ending = last.start() if last and known.begins(last[0], whole=False) else len(text)
    until, position = min(ending, may_be_named(text, known)), 0
    while (found := _SUSPECT.search(text, position, until)) is not None:
        rest = text[found.start() : found.start() + 2 * _LONGEST_OPENING]
        if rest[0] == "\n":
            if _line_calls(rest[1:], known):
                return found.start() + 1
        elif _may_begin(rest, known):
            return found.start()
        position = found.start() + 1
    return until


def unfinished_from(text: str, known: Callables) -> int:
    """Where half a call begins, in a reply that was cut; the length of the text where it ends with none.

    JSON is whole where its brackets are; anything else that may be a call, where a paragraph ends.
    """
    position = 0
    while (start := position + held_from(text[position:], known, begins=True)) < len(text):
        is_json = text[start] in "{[" and not _is_tag(text[start:])
        end = end_of(text, start) if is_json else text.find("\n\n", start)
        if end is None or end < 0:
            return start
        position = end
    return len(text)


def _line_calls(line: str, known: Callables) -> bool:
    """Whether a line begins like a call, as far as it goes."""
    line, ended, _ = line.partition("\n")
    label = line.lstrip(" \t>*" if not line.lstrip().startswith(">>") else " \t").lower()
    labelled = bool(label) and any(label.startswith(one) or one.startswith(label) for one in _LABELS)
    return labelled or is_program(line, known, ended=bool(ended))


def _may_begin(rest: str, known: Callables) -> bool:
    """Whether a call begins here, or may, as far as one can see."""
    if (fence := _FENCE.match(rest)) is not None or rest[0] == "`":
        if fence is None or fence.end() == len(rest) or fence[1] in ("delegate", "tool_call"):
            return True  # the rest of the line will tell, or has told
        rest = rest[fence.end() :] if fence[1] in _CODE else ""
        if rest and (_line_calls(rest, known) or (fence[1] in _PROGRAMS and "\n" not in rest)):
            return True
    if _is_tag(rest):
        return True
    opening = OPENING.match(rest)
    if opening is None:
        return False
    if opening["closed"]:
        return is_key(opening["key"], known)
    return opening.end() == len(rest) or opening.end() > _LONGEST_OPENING


def _is_tag(text: str) -> bool:
    """Whether a text begins with a mark that models put around calls, or with the beginning of one."""
    lower = text[:20].lower()
    return text[:1] in ("<", "[") and any(lower.startswith(tag) or tag.startswith(lower) for tag in _TAGS)
