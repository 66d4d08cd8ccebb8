"""PURE: reads a shape out of a model's reply, also out of one that is wrapped, decorated or cut in the middle."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

MOST_PLACES = 20  # at which a reply is looked at for JSON
_DECODER = json.JSONDecoder(strict=False)  # models write line breaks into their texts
_BEGIN = re.compile(r"[{\[]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}
_SCALAR = re.compile(r"true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[\s,\]}])")

Shape = TypeVar("Shape", bound=BaseModel)


def parse_reply(text: str, shape: type[Shape]) -> tuple[Shape, bool] | None:
    """The first value of the shape in a reply, and whether all of it is there; None where there is none.

    Words and fences around it do not matter. Of a reply that was cut, or goes wrong in the middle, what is whole is
    kept: an object in a list wholly or not at all. An item of another shape is left out.
    """
    for value, whole in _values(text):
        for candidate in _unwrap(value, shape):
            found = _valid(candidate, shape)
            if found is not None:
                return found, whole
    return None


def _values(text: str) -> Iterator[tuple[Any, bool]]:
    """JSON values in a text, from the left; the last one as far as it goes."""
    at = 0
    for _ in range(MOST_PLACES):
        begins = _BEGIN.search(text, at)
        if begins is None:
            return
        at = begins.start()
        try:
            value, end = _DECODER.raw_decode(text, at)
            yield value, True
            at = end
        except ValueError as exc:
            place = exc.pos if isinstance(exc, json.JSONDecodeError) else len(text)
            begun = _parse_incomplete(text[at : max(at + 1, place)])
            if begun is not None:
                yield begun, False
            at += 1
        except RecursionError:
            return


def _parse_incomplete(text: str) -> Any | None:
    """What is whole of a JSON value that ends too early."""
    safe, closing, at = 0, "", 0
    stack: list[str] = []
    while at < len(text):
        sign, key = text[at], False
        if sign in "{[":
            stack.append(sign)
            at += 1
            continue
        if sign in "}]":
            if not stack or _CLOSING[stack.pop()] != sign:
                break
            at += 1
        elif found := (_STRING if sign == '"' else _SCALAR).match(text, at):
            key = stack[-1:] == ["{"] and not text[:at].rstrip().endswith(":")
            at = found.end()
        elif sign == '"':
            break
        else:
            at += 1
            continue
        if not key and not any(pair == ("[", "{") for pair in pairwise(stack)):
            safe, closing = at, "".join(_CLOSING[one] for one in reversed(stack))
    if not safe:
        return None
    try:
        return _DECODER.decode(f"{text[:safe]}{closing}")
    except ValueError:
        return None


def _unwrap(value: Any, shape: type[BaseModel]) -> Iterator[Any]:
    """A value, and what it wraps: models copy a schema's `properties`, name the whole, or leave the one name out."""
    if isinstance(value, dict):
        yield value
        if len(value) == 1 or "properties" in value:
            inner = value.get("properties", next(iter(value.values())))
            if isinstance(inner, dict):
                yield inner
    elif isinstance(value, list):
        required = [name for name, field in shape.model_fields.items() if field.is_required()]
        if len(required) == 1:
            yield {required[0]: value}


def _valid(value: Any, shape: type[Shape]) -> Shape | None:
    """The value in its shape, without those items of lists that have another; None where that does not suffice."""
    try:
        return shape.model_validate(value)
    except ValidationError as exc:
        wrong = {_item(error["loc"]) for error in exc.errors(include_url=False)}
    if None in wrong:
        return None
    for place in sorted((place for place in wrong if place), key=lambda place: place[-1], reverse=True):
        holder = value
        try:
            for part in place[:-1]:
                holder = holder[part]
            del holder[place[-1]]
            if not holder:
                return None
        except (KeyError, IndexError, TypeError):
            return None
    try:
        return shape.model_validate(value)
    except ValidationError:
        return None


def _item(place: tuple[int | str, ...]) -> tuple[int | str, ...] | None:
    """The outermost item of a list that an error lies in."""
    first = next((number for number, part in enumerate(place) if isinstance(part, int)), None)
    return None if first is None else place[: first + 1]
