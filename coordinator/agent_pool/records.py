"""The agents as the journal has them: registrations, whose they are, and which were ever reached."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from coordinator.access.claims import Holder
from coordinator.journal import sql
from coordinator.journal.store import Store
from shared import logs
from shared.contracts import Registration
from shared.db.database import Row, Statement


def make_id(registration: Registration) -> str:
    """An agent's id: the same for the same process at the same endpoint, also after a restart."""
    who = "|".join((registration.name, registration.instance or "", registration.endpoint))
    return f"{registration.name}-{hashlib.sha256(who.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class AgentRecord:
    """One row. `present` says whether the agent is registered now."""

    agent_id: str
    registration: Registration
    present: bool
    holder: Holder


class AgentRecords:
    """Like `Store`: what is awaited is durable when it returns; raises `StorageFull`."""

    def __init__(self, store: Store, *, wall: Callable[[], float] = time.time) -> None:
        self._store = store
        self._wall = wall

    async def save(self, agent_id: str, registration: Registration, holder: Holder) -> None:
        """Adds or changes an agent; the secret and the owner that a row has already stay."""
        row = {
            "id": agent_id,
            "registration": registration.model_dump_json(exclude={"secret"}),
            "at": self._wall(),
            "secret_hash": holder.secret_hash,
            "owner": holder.owner,
        }
        data = {"agent_id": agent_id, "name": registration.name}
        await self._store.write_told("store.save_agent", Statement(sql.SAVE_AGENT, row), "agent.registered", data)

    def reached(self, agent_id: str, at: float) -> None:
        """The agent gave a sign of life at `at` (Unix seconds)."""
        self._store.post("store.agent_reached", Statement(sql.AGENT_REACHED, {"id": agent_id, "at": at}))

    def remove(self, agent_id: str) -> None:
        """The agent has left; its id and its name stay whose they are."""
        self._store.post("store.remove_agent", Statement(sql.REMOVE_AGENT, {"id": agent_id, "at": self._wall()}))

    def forget(self, agent_id: str) -> None:
        """As if the agent had never been there."""
        self._store.post("store.forget_agent", Statement(sql.FORGET_AGENT, {"id": agent_id}))

    async def all(self) -> list[AgentRecord]:
        """Every agent that is or was there; one that cannot be read is left out, and registers again."""
        found = []
        for row in await self._store.read(sql.AGENTS):
            try:
                found.append(_record(row))
            except ValidationError as exc:
                logs.get().warning("agent.unreadable", agent_id=row[0], why=str(exc.errors()[0]["msg"]))
        return found

    async def holder(self, agent_id: str) -> Holder | None:
        """Whose the id is; None if it was never there."""
        rows = await self._store.read(sql.HOLDER, {"id": agent_id})
        return Holder(*rows[0]) if rows else None

    async def owner(self, name: str) -> str | None:
        """The key that first registered an agent of this name."""
        rows = await self._store.read(sql.OWNER, {"name": name})
        return str(rows[0][0]) if rows else None


def _record(row: Row) -> AgentRecord:
    agent_id, text, removed_at, *holder = row
    return AgentRecord(agent_id, Registration.model_validate_json(text), removed_at is None, Holder(*holder))
