"""PURE: strict JSON (RFC 8259), and pointers into it."""

from __future__ import annotations

import math
from typing import Any

from pydantic_core import from_json


def json_pointer(value: Any) -> str:
    """A pydantic error location as an RFC 6901 pointer: `("plan", 0, "id")` becomes `/plan/0/id`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in value)


def strict_json(body: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, no NaN, no lone surrogates, no number that overflows; ValueError otherwise."""
    data = from_json(body, allow_inf_nan=False)
    shapes = body.translate(_SHAPES)
    if any(shape in shapes for shape in _MAY_OVERFLOW) and _holds_infinity(data):
        raise ValueError("a number is too large")
    return data


# A regular expression took 14 ms for 1 MB of text, more than all the rest of a task; two looks at shapes take 1.
_SHAPES = bytes(ord("0") if chr(c).isdigit() and c < 128 else ord("e") if c in b"eE" else c for c in range(256))
_MAY_OVERFLOW = (b"0e000", b"0e+000", b"0" * 300)


def _holds_infinity(data: Any) -> bool:
    if isinstance(data, dict | list):
        return any(_holds_infinity(item) for item in (data.values() if isinstance(data, dict) else data))
    return isinstance(data, float) and math.isinf(data)
