"""PURE: who may speak for an agent: the holder of its secret, and of the key that first registered its name."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from coordinator.access.caller import Caller
from shared.contracts import Registration
from shared.errors import NameTaken, SecretRefused


@dataclass(frozen=True)
class Claim:
    """A registration as it came, without its secret, and what that secret hashes to."""

    registration: Registration
    secret_hash: str | None = None


@dataclass(frozen=True)
class Holder:
    """Whose an id is: `secret_hash` is of the first secret that came with it, `owner` of the first key."""

    secret_hash: str | None = None
    owner: str | None = None
    reached_at: float | None = None  # Unix seconds of a sign of life, at most a day before the last one


NOBODY = Holder()


def hash_of(secret: str) -> str:
    """What is kept of a secret (SHA-256, hexadecimal): it is long and random, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def prove(holder: Holder, agent_id: str, secret_hash: str | None) -> None:
    """Raises `SecretRefused` unless the id is free, or this is its secret."""
    if holder.secret_hash is None:
        return
    if secret_hash is None or not hmac.compare_digest(holder.secret_hash, secret_hash):
        raise SecretRefused(
            f"{agent_id} is registered with a secret, and this call sends "
            + ("none." if secret_hash is None else "a different one.")
            + " Send that secret, or register under another 'instance'."
        )


def own(owner: str | None, name: str, caller: Caller) -> None:
    """Raises `NameTaken` where keys are used and the name is another key's."""
    if caller.owner is not None and owner is not None and owner != caller.owner:
        raise NameTaken(f"The name {name!r} belongs to the key that registered it first. Choose another name.")


def operator_proof(secret: bytes, agent_id: str) -> str:
    """What shows, in place of an agent's secret, that the caller can read the journal, and so runs this suite."""
    return hmac.digest(secret, b"operator:" + agent_id.encode(), "sha256").hex()
