"""PURE: JSON as RFC 8259 has it, and where in it something stands."""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic_core import from_json


def json_pointer(value: Any) -> str:
    """A pydantic error location as an RFC 6901 pointer: `("plan", 0, "id")` becomes `/plan/0/id`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in value)


def strict_json(body: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, no NaN, no lone surrogates, no number that overflows; ValueError otherwise."""
    data = from_json(body, allow_inf_nan=False)
    if _MAY_OVERFLOW.search(body) and _holds_infinity(data):
        raise ValueError("a number is too large")
    return data


_MAY_OVERFLOW = re.compile(rb"[eE]\+?\d{3}|\d{300}")


def _holds_infinity(data: Any) -> bool:
    if isinstance(data, dict | list):
        return any(_holds_infinity(item) for item in (data.values() if isinstance(data, dict) else data))
    return isinstance(data, float) and math.isinf(data)
