"""PURE: the coordinator's signature under a request that is no step: one that its gateway passes on, say."""

from __future__ import annotations

from shared.limits.envelope import Envelope, seal

PASSING = "passing"  # what an envelope has for a task that is none: tasks have 32 hexadecimal digits


def seal_passing(method: str, target: str, *, key: bytes, body: bytes, milliseconds: int) -> str:
    """The value of `Muster-Envelope` for a request with this method, path with query, and body."""
    return seal(
        Envelope(task=PASSING, step=f"{method} {target}", attempt=1, milliseconds=milliseconds), key=key, body=body
    )


def target_of(raw_path: bytes, query: bytes) -> str:
    """A request's target, as its server sees it (ASGI's `raw_path` and `query_string`)."""
    path = raw_path.partition(b"?")[0].decode("latin-1")
    return f"{path}?{query.decode('latin-1')}" if query else path
