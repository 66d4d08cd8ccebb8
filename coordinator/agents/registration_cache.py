"""Registrations as they arrive, parsed and checked; a heartbeat is the same bytes as the one before, checked then."""

from __future__ import annotations

import hashlib

from pydantic_core import to_json

from coordinator.access.claims import Claim, hash_of
from coordinator.agents.registry import MAX_AGENTS
from shared.contracts import MAX_METADATA_BYTES, Registration
from shared.errors import Invalid
from shared.server import bodies

KEPT_BYTES = 16_384  # bodies up to this are known again, at most as many as there may be agents


class Registrations:
    """Knows what it has checked: parsing and checking were a fifth of what a heartbeat costs the coordinator.

    Bodies are known by their digest, because they carry secrets.
    """

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._checked: dict[bytes, Claim] = {}

    def parse(self, body: bytes) -> Claim:
        """The registration that `body` holds; raises `BadRequest`, and `Invalid` for a wrong field or address."""
        digest = hashlib.sha256(body).digest()
        known = self._checked.get(digest)
        if known is not None:
            return known
        registration = bodies.parse(Registration, body)
        bodies.check_address("/endpoint", registration.endpoint, private=self._private)
        size = len(to_json(registration.metadata))
        if size > MAX_METADATA_BYTES:
            said = f"has {size} bytes as JSON; the limit is {MAX_METADATA_BYTES}"
            raise Invalid(f"/metadata: {said}", [{"pointer": "/metadata", "detail": said}])
        secret = registration.secret
        claim = Claim(
            registration.model_copy(update={"secret": None}) if secret is not None else registration,
            hash_of(secret) if secret is not None else None,
        )
        if len(body) <= KEPT_BYTES:
            if len(self._checked) >= MAX_AGENTS:
                self._checked.clear()
            self._checked[digest] = claim
        return claim
