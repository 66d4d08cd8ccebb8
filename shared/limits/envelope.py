"""PURE: what a step may still spend and who asked for it, signed for one receiver and bound to one body.

The header is `base64url(JSON) "." base64url(HMAC-SHA256)`; the digest of the body is inside the signed part, and
the key is the receiver's own, so that an envelope is worth nothing with another body or at another agent.
Time travels as milliseconds left, so that clocks need not agree. A hop can only shrink what it was given.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, replace

from pydantic_core import to_json

from shared.errors import BadRequest, EnvelopeRefused, LimitReached
from shared.strict_json import strict_json

HEADER = "Muster-Envelope"
HOP = "Muster-Hop"  # the same without a signature, between agents that know no coordinator
VERSION = 1
MAX_DEPTH = 5
MOST_MILLISECONDS = 86_400_000


@dataclass(frozen=True)
class Envelope:
    """What one hop carries. `calls` and `tokens` are what is left, `None` if there is no limit."""

    task: str
    step: str
    attempt: int
    milliseconds: int
    calls: int | None = None
    tokens: int | None = None
    depth: int = 0
    ancestry: tuple[str, ...] = ()
    may_call: tuple[str, ...] = ()
    tenant: str = "default"


def seal(envelope: Envelope, *, key: bytes, body: bytes) -> str:
    """The header value for this body, signed with the receiver's key."""
    claims = vars(envelope) | {"v": VERSION, "digest": hashlib.sha256(body).hexdigest()}
    payload = _encode(to_json(claims))
    return f"{payload}.{_encode(_sign(payload, key))}"


def open_envelope(header: str, *, key: bytes, body: bytes) -> Envelope:
    """The envelope in a header; raises `EnvelopeRefused` unless it was sealed with this key for this body."""
    payload, _, signature = header.partition(".")
    try:
        genuine = hmac.compare_digest(_decode(signature), _sign(payload, key))
        claims = json.loads(_decode(payload)) if genuine else {}
    except ValueError as exc:
        raise EnvelopeRefused("The envelope cannot be read.") from exc
    if not genuine:
        raise EnvelopeRefused("The envelope is not signed with this agent's key.")
    if claims.pop("v", None) != VERSION:
        raise EnvelopeRefused("The envelope has an unknown version.")
    if claims.pop("digest", None) != hashlib.sha256(body).hexdigest():
        raise EnvelopeRefused("The envelope does not match the body.")
    claims["ancestry"], claims["may_call"] = tuple(claims["ancestry"]), tuple(claims["may_call"])
    return Envelope(**claims)


def encode_hop(envelope: Envelope) -> str:
    """The value of the `HOP` header: what one agent tells another that it may spend, and who is asking already."""
    return json.dumps(vars(envelope))


def parse_hop(header: str) -> Envelope:
    """The envelope in a `HOP` header; raises `BadRequest`.

    It is unsigned, so it can only set limits: a false header gains no more than a missing one.
    """
    try:
        said = strict_json(header.encode("latin-1"))
        ancestry = tuple(str(name) for name in said.get("ancestry", ()))
        return Envelope(
            task=str(said.get("task", "")),
            step=str(said.get("step", "")),
            attempt=1,
            milliseconds=max(1, int(said.get("milliseconds", MOST_MILLISECONDS))),
            calls=None if said.get("calls") is None else max(0, int(said["calls"])),
            tokens=None if said.get("tokens") is None else max(0, int(said["tokens"])),
            depth=max(0, int(said.get("depth", 0)), len(ancestry)),
            ancestry=ancestry,
        )
    except (ValueError, TypeError, AttributeError, OverflowError) as exc:
        raise BadRequest(f"{HOP} must be a JSON object with depth, ancestry, milliseconds, calls and tokens.") from exc


def narrow(
    parent: Envelope, *, agent: str, step: str, milliseconds: int, calls: int | None = None, tokens: int | None = None
) -> Envelope:
    """What `agent` may pass on of `parent`: never more than it has. Raises `LimitReached` at depth 5 and for loops."""
    if parent.depth >= MAX_DEPTH:
        raise LimitReached(f"Delegation ends at depth {MAX_DEPTH}.")
    if agent in parent.ancestry:
        raise LimitReached(f"Agent {agent!r} is already in the chain: {' > '.join(parent.ancestry)}.")
    return replace(
        parent,
        step=step,
        attempt=1,
        milliseconds=min(milliseconds, parent.milliseconds),
        calls=_find_least(calls, parent.calls),
        tokens=_find_least(tokens, parent.tokens),
        depth=parent.depth + 1,
        ancestry=(*parent.ancestry, agent),
    )


def derive_key(secret: bytes, agent_id: str) -> bytes:
    """The key of one agent, from the coordinator's secret (HMAC-SHA256, 32 bytes)."""
    return hmac.digest(secret, b"agent:" + agent_id.encode(), "sha256")


def _find_least(wish: int | None, given: int | None) -> int | None:
    return min((v for v in (wish, given) if v is not None), default=None)


def _sign(payload: str, key: bytes) -> bytes:
    return hmac.digest(key, payload.encode(), "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
