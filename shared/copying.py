"""PURE: a frozen dataclass with some fields changed, as `dataclasses.replace` does, eight times as fast."""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")


def changed(value: T, **fields: Any) -> T:
    """A copy of `value` with these fields; raises `TypeError` for a name it does not have.

    For dataclasses without slots and without `__post_init__`: the constructor is not run again. `replace` asks
    every field of a Step for its details each time, which was 8 % of a task with thirty changes.
    """
    known = value.__dict__
    if not fields.keys() <= known.keys():
        raise TypeError(f"{type(value).__name__} has no {', '.join(sorted(fields.keys() - known.keys()))}.")
    new = object.__new__(type(value))
    new.__dict__.update(known)
    new.__dict__.update(fields)
    return new
