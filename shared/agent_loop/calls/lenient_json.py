"""PURE: JSON as models write it: right, or with a bracket, a quote or a comma wrong."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import json_repair
from pydantic import JsonValue
from pydantic_core import from_json

MOST_CHARACTERS = 20_000  # of what is repaired, which takes time that grows with its brackets:
MOST_BRACKETS = 200
# The beginning of an object or a list, with its first key as far as it goes.
OPENING = re.compile(r"[{\[]\s*(?:[{\[]\s*)*(?:[\"'](?P<key>[^\"'{}\[\]\n]{0,80})(?P<closed>[\"'])?)?")
_BARE = re.compile(  # a value that lacks its quotes: `"task": 17 + 25}`
    r"""(["'])\s*:\s*(?!(?:true|false|null|None|True|False|-?[\d.]+)\s*[,}\]])"""
    r"""([\w(+-][^"'{}\[\],\n]*?)\s*(?=[,}])"""
)
_DECODER = json.JSONDecoder()


def read_json(text: str) -> JsonValue:
    """The object or list in a text, None where there is none; what is not quite JSON is read as it was meant."""
    text = text.strip()
    if text[:1] not in ("{", "["):
        return None
    try:
        found: JsonValue = from_json(text, allow_inf_nan=False)
        return found
    except ValueError:
        return _repair(text)


def read_value(text: str) -> JsonValue:
    """The JSON in a text, the text itself where it is none."""
    try:
        found: JsonValue = from_json(text)
    except ValueError:
        return text
    return found


def is_json(text: str) -> bool:
    """Whether a text is JSON, of any kind, unchanged."""
    try:
        from_json(text)
    except ValueError:
        return False
    return True


def _repair(text: str) -> JsonValue:
    if len(text) > MOST_CHARACTERS or text.count("{") + text.count("[") > MOST_BRACKETS:
        return None
    try:
        found: Any = json_repair.loads(_BARE.sub(r'\1: "\2"', text), skip_json_loads=True)
    except (ValueError, RecursionError):  # more nested than it reads
        return None
    return found if isinstance(found, dict | list) and found else None


def end_of(text: str, start: int) -> int | None:
    """Where the value that begins at `start` ends, by its brackets if it is not quite JSON; None where it does not."""
    with contextlib.suppress(ValueError, RecursionError):
        return _DECODER.raw_decode(text, start)[1]
    depth, quote, position = 0, "", start
    stop = min(len(text), start + MOST_CHARACTERS)
    while position < stop:
        letter = text[position]
        if quote:
            if letter == "\\":
                position += 1
            elif letter == quote:
                quote = ""
        elif letter == '"':
            quote = letter
        elif letter in "{[":
            depth += 1
        elif letter in "}]":
            depth -= 1
            if not depth:
                return position + 1
        position += 1
    return None
