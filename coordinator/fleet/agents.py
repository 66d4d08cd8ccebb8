"""Keeps this coordinator's registry like the others': registrations, removals, drains and signs of life."""

from __future__ import annotations

from coordinator.access.claims import Holder
from coordinator.agent_pool.pool import Agents
from coordinator.agent_pool.records import AgentRecord
from coordinator.fleet.members import Members
from coordinator.journal.store import Store
from shared.contracts import Registration
from shared.db.database import Statement

_CHANGED = """
SELECT id, registration, removed_at, secret_hash, owner, reached_at, held, change FROM agents
WHERE change > :change ORDER BY change
"""
_HOLD = "UPDATE agents SET held = :held WHERE id = :id"
_IDS = "SELECT id FROM agents WHERE removed_at IS NULL"
LATE_SECONDS = 3.0  # until each coordinator knows of a registration: a look a second, and a slow one
ALL_EVERY = 10  # looks: whether an agent was forgotten, which leaves no row


class SharedAgents:
    """Follows the table of agents."""

    def __init__(self, agents: Agents, members: Members, store: Store) -> None:
        self._agents = agents
        self._members = members
        self._store = store
        self._change = 0
        self._known: set[str] = set()  # ids that the table had
        self._beats = 0.0
        self._looks = 0
        agents.heard = lambda agent_id: members.hear(agent_id, members.wall())
        agents.held = self._write_held
        agents.registry.late = LATE_SECONDS

    def _write_held(self, agent_id: str, held: bool) -> None:
        self._store.post("store.hold_agent", Statement(_HOLD, {"id": agent_id, "held": held}))

    async def look(self) -> None:
        """Takes what has changed since the last look."""
        registry = self._agents.registry
        registry.sharers = len(self._members.there) or 1
        for *row, held, change in await self._store.read(_CHANGED, {"change": self._change}):
            self._change = change
            agent_id, text, removed_at, *holder = row
            self._known.add(agent_id)
            registration = Registration.model_validate_json(text)
            known = registry.get(agent_id)
            if known is None or removed_at is not None or known.registration != registration:
                self._agents.adopt(AgentRecord(agent_id, registration, removed_at is None, Holder(*holder)))
            if (instance := registry.get(agent_id)) is not None and instance.held != held:
                registry.hold(instance, held)
        for agent_id, at in await self._members.read_beats(since=self._beats):
            self._beats = max(self._beats, at)
            if (instance := registry.get(agent_id)) is not None:
                registry.register(agent_id, instance.registration)
        self._agents.wake_waiters()  # for one that is still unknown
        self._looks += 1
        if self._looks % ALL_EVERY == 0:
            there = {row[0] for row in await self._store.read(_IDS)}
            for instance in registry.list_all():
                if instance.id in self._known - there:
                    gone = AgentRecord(instance.id, instance.registration, False, Holder())
                    self._agents.adopt(gone)
            self._known &= there
