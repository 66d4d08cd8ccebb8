"""Whose the agents are that are registered now: their secrets, the owners of their names, and who may be new."""

from __future__ import annotations

import hmac
from dataclasses import replace

from coordinator.access.caller import Caller
from coordinator.access.claims import NOBODY, Claim, Holder, hash_of, operator_proof, own, prove
from coordinator.access.newcomers import Newcomers
from coordinator.agent_pool.records import AgentRecords
from shared.errors import Forbidden

DAY_SECONDS = 86_400.0  # a sign of life is written down as often


class Holders:
    """Reads the journal only for ids that are not registered now. `secret` is the coordinator's own."""

    def __init__(self, records: AgentRecords, newcomers: Newcomers, *, secret: bytes) -> None:
        self._records = records
        self._newcomers = newcomers
        self._secret = secret
        self._present: dict[str, tuple[str, Holder]] = {}  # name and holder by id
        self._owners: dict[str, str] = {}  # by name

    async def admit(self, agent_id: str, claim: Claim, caller: Caller) -> Holder:
        """Whose the id is with this claim.

        Raises `SecretRefused`, `NameTaken`, and `Overloaded` for a new id of a caller that has registered too many.
        """
        name = claim.registration.name
        if (found := self._present.get(agent_id)) is not None:
            holder: Holder | None = found[1]
        else:
            holder = await self._records.holder(agent_id)
            owner = await self._records.owner(name) if caller.owner is not None else None
            if (meanwhile := self._present.get(agent_id)) is not None:
                holder = meanwhile[1]
            own(self._owners.get(name, owner), name, caller)
            if holder is None:
                self._newcomers.admit(caller.key, caller.address)
        holder = holder or NOBODY
        own(holder.owner, name, caller)
        prove(holder, agent_id, claim.secret_hash)
        bound, owner = holder.secret_hash or claim.secret_hash, holder.owner or caller.owner
        return (
            holder
            if (bound, owner) == (holder.secret_hash, holder.owner)
            else replace(holder, secret_hash=bound, owner=owner)
        )

    def put(self, agent_id: str, name: str, holder: Holder) -> bool:
        """The id is registered and held like this from now on; whether anything is new."""
        before = self._present.get(agent_id)
        if before is not None and before[1] == holder:
            return False
        self._present[agent_id] = name, holder
        if holder.owner is not None:
            self._owners.setdefault(name, holder.owner)
        return True

    def drop(self, agent_id: str, *, forget: bool) -> None:
        """The id is not registered any more; it stays whose it was, unless that is to be forgotten, too."""
        name, _ = self._present.pop(agent_id, ("", NOBODY))
        if not any(other == name for other, _ in self._present.values()):
            self._owners.pop(name, None)
        if forget:
            self._records.forget(agent_id)
        else:
            self._records.remove(agent_id)

    def is_reached(self, agent_id: str) -> bool:
        """Whether the agent ever gave a sign of life."""
        return agent_id in self._present and self._present[agent_id][1].reached_at is not None

    def reached(self, agent_id: str, at: float) -> None:
        """The agent gave a sign of life at `at` (Unix seconds)."""
        name, holder = self._present.get(agent_id, ("", NOBODY))
        if name and at - (holder.reached_at or 0.0) > DAY_SECONDS:
            self._present[agent_id] = name, replace(holder, reached_at=at)
            self._records.reached(agent_id, at)

    def may_withdraw(self, agent_id: str, secret: str | None, caller: Caller) -> bool:
        """Whether only the operator may withdraw it, and it is he who asks; raises `SecretRefused` and `NameTaken`."""
        name, holder = self._present.get(agent_id, ("", NOBODY))
        try:
            own(holder.owner, name, caller)
            prove(holder, agent_id, hash_of(secret) if secret is not None else None)
        except Forbidden:
            if not self.is_operator(agent_id, secret, caller):
                raise
            return True
        return False

    def is_operator(self, agent_id: str, secret: str | None, caller: Caller) -> bool:
        """Whether the caller runs this suite: its key may administer, or it has read the journal."""
        proof = operator_proof(self._secret, agent_id)
        return caller.may_administer or (secret is not None and hmac.compare_digest(secret.encode(), proof.encode()))
