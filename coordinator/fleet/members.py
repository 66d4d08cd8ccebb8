"""Which coordinators are there, and the signs of life of agents that each has heard: one write a second for both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pydantic_core import to_json

from coordinator.journal.store import Store
from shared.db.database import Statement

BEAT_SECONDS = 1.0
GONE_SECONDS = 5.0  # without a beat

_BEAT = """
INSERT INTO coordinators (id, address, at, leaving) VALUES (:id, :address, :at, :leaving)
ON CONFLICT (id) DO UPDATE SET address = excluded.address, at = excluded.at, leaving = excluded.leaving
"""
_HEARD = """
INSERT INTO beats (agent_id, at)
SELECT key, value::double precision FROM json_each_text(:heard::text::json)
ON CONFLICT (agent_id) DO UPDATE SET at = greatest(beats.at, excluded.at)
"""
_THERE = "SELECT id, address FROM coordinators WHERE at > :since AND NOT leaving"
_FORGET = ("DELETE FROM coordinators WHERE at < :before", "DELETE FROM beats WHERE at < :before")
_BEATS = "SELECT agent_id, at FROM beats WHERE at > :since"


@dataclass
class Members:
    """`id` and `address` are this coordinator's; `there` are all that are not `leaving`, and this one, by id."""

    store: Store
    id: str
    address: str
    wall: Callable[[], float]
    there: Mapping[str, str] = field(default_factory=dict)
    leaving: bool = False
    _heard: dict[str, float] = field(default_factory=dict)

    def hear(self, agent_id: str, at: float) -> None:
        """An agent has shown here that it lives, at `at` (Unix seconds)."""
        self._heard[agent_id] = at

    async def beat(self) -> None:
        """Says that this coordinator and the agents that it has heard are there, and looks who else is."""
        now = self.wall()
        row = {"id": self.id, "address": self.address, "at": now, "leaving": self.leaving}
        self.store.post("store.beat", Statement(_BEAT, row))
        if self._heard:
            heard, self._heard = self._heard, {}
            self.store.post("store.beats", Statement(_HEARD, {"heard": to_json(heard).decode()}))
        found = await self.store.read(_THERE, {"since": now - GONE_SECONDS})
        self.there = dict(found) | {self.id: self.address}

    @property
    def others(self) -> bool:
        """Whether another coordinator is there that stays."""
        return any(id != self.id for id in self.there)

    async def read_beats(self, *, since: float) -> Iterable[tuple[str, float]]:
        """Agents heard by any coordinator after a time (Unix seconds)."""
        return [(agent_id, at) for agent_id, at in await self.store.read(_BEATS, {"since": since})]

    async def leave(self) -> None:
        """Says that this coordinator is gone."""
        self.store.post("store.leave", Statement("DELETE FROM coordinators WHERE id = :id", {"id": self.id}))

    async def forget_gone(self) -> None:
        """Coordinators and agents that were last heard of an hour ago; an agent's own row stays."""
        for text in _FORGET:
            self.store.post("store.forget_gone", Statement(text, {"before": self.wall() - 3_600}))
