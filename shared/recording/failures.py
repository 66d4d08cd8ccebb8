"""Failures as JSON and back: a replay raises what was raised."""

from __future__ import annotations

from typing import Any

import httpx

from shared import errors
from shared.contracts import Usage
from shared.errors import MusterError

Failure = MusterError | httpx.TransportError
_OWN = ("type", "retryable", "blames_agent", "booked", "tokens")  # attributes that an instance may have of its own


def write_failure(exc: Failure) -> dict[str, Any]:
    """Its nearest class of `shared.errors` or httpx, its words, and what it says besides."""
    if isinstance(exc, httpx.TransportError):
        return {"class": _nearest(exc, httpx), "detail": str(exc)}
    said: dict[str, Any] = {"class": _nearest(exc, errors), "detail": exc.detail}
    said |= {name: exc.__dict__[name] for name in _OWN if name in exc.__dict__}
    if exc.headers:
        said["headers"] = exc.headers
    if exc.usage != Usage():
        said["usage"] = exc.usage.model_dump()
    return said


def read_failure(said: dict[str, Any]) -> Failure:
    """The failure that `write_failure` has written; of a class that is gone, a MusterError with its words."""
    kind = getattr(httpx, said["class"], None)
    if kind is not None:
        lost: httpx.TransportError = kind(said["detail"])
        return lost
    of: type[MusterError] = getattr(errors, said["class"], MusterError)
    failure = of.__new__(of)
    MusterError.__init__(failure, said["detail"], headers=said.get("headers"))
    failure.__dict__.update({name: said[name] for name in _OWN if name in said})
    if "usage" in said:
        failure.usage = Usage.model_validate(said["usage"])
    return failure


def _nearest(exc: BaseException, module: Any) -> str:
    kinds = [kind.__name__ for kind in type(exc).__mro__ if getattr(module, kind.__name__, None) is kind]
    return str(kinds[0])
