"""PURE: the names of the agents that a step may go to, remembered until an agent comes or goes."""

from __future__ import annotations

from coordinator.agents.registry import Registry


class AbleNames:
    """Looks into a registry of up to a thousand instances, and is asked several times a step."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._seen = -1
        self._names: dict[str, tuple[str, ...]] = {}

    def __call__(self, capability: str | None, agent: str | None) -> tuple[str, ...]:
        """The names for a capability or an agent, alive or not; none where nobody is registered for it."""
        if agent is not None:
            return (agent,)
        if self._seen != self._registry.changes:
            self._seen = self._registry.changes
            self._names.clear()
        if (names := self._names.get(capability or "")) is None:
            able = self._registry.find(capability=capability, agent=None) if capability else []
            names = self._names[capability or ""] = tuple(dict.fromkeys(i.name for i in able))
        return names
