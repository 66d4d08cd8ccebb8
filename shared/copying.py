"""PURE: a frozen dataclass with some fields changed, as `dataclasses.replace` does, eight times as fast."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any, TypeVar

T = TypeVar("T")


def changed(value: T, **fields: Any) -> T:
    """A copy of `value` with these fields; raises `TypeError` for a name it does not have.

    For dataclasses without slots: the constructor is not run again, so what `__post_init__` has made stays as it is;
    what the old value has cached, the new one works out for itself. `replace` asks every field of a Step for its
    details each time, which was 8 % of a task with thirty changes.
    """
    known = value.__dict__
    if not fields.keys() <= known.keys():
        raise TypeError(f"{type(value).__name__} has no {', '.join(sorted(fields.keys() - known.keys()))}.")
    new = object.__new__(type(value))
    new.__dict__.update(known)
    new.__dict__.update(fields)
    for name in _cached(type(value)):  # type: ignore[arg-type]  # mypy doubts that a type can be a key
        new.__dict__.pop(name, None)
    return new


@lru_cache
def _cached(kind: type) -> tuple[str, ...]:
    return tuple(name for name, value in vars(kind).items() if isinstance(value, cached_property))
