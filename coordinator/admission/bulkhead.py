"""PURE: how many places each agent's tasks hold, and how many they may."""

from __future__ import annotations


class Bulkhead:
    """One agent may hold half of the places, so that one that hangs leaves the others theirs.

    Places that nobody wants are lent to it: one more for every answer that it gives while it has all it may have, and
    none any more after a step without an answer. So an agent that never answered borrows nothing, and one that is used
    alone soon has all. What is lent does not count as taken when others want a place.
    """

    def __init__(self, places: int) -> None:
        self.half = max(1, places // 2)
        self._most_lent = places - self.half
        self._held: dict[str, int] = {}
        self._earned: dict[str, int] = {}
        self._beyond = 0

    @property
    def lent(self) -> int:
        """Places beyond a half: others need not wait for them."""
        return min(self._beyond, self._most_lent)

    @property
    def held(self) -> dict[str, int]:
        """Places by agent; a task that is at several agents counts at each."""
        return dict(self._held)

    def count_held(self, agent: str) -> int:
        """The agent's places."""
        return self._held.get(agent, 0)

    def has_room(self, agent: str) -> bool:
        """Whether one more task fits into its half."""
        return self._held.get(agent, 0) < self.half

    def may_borrow(self, agent: str, *, guest: bool = False) -> bool:
        """Whether it may have one more of the places that nobody wants, or a guest, if it has earned any."""
        earned = self._earned.get(agent, 0)
        return self._held.get(agent, 0) < self.half + earned or (guest and earned > 0)

    def take(self, agent: str) -> None:
        """One more task is at the agent."""
        held = self._held[agent] = self._held.get(agent, 0) + 1
        self._beyond += held > self.half

    def give_back(self, agent: str) -> None:
        """A task has left the agent."""
        held = self._held[agent] - 1
        self._beyond -= held >= self.half
        if held:
            self._held[agent] = held
        else:
            del self._held[agent]

    def note_answer(self, agent: str, *, answered: bool) -> None:
        """A step of it has ended."""
        if not answered:
            self._earned.pop(agent, None)
        elif (held := self._held.get(agent, 0)) >= self.half:
            earned = self._earned.get(agent, 0)
            if held >= self.half + earned and earned < self._most_lent:
                self._earned[agent] = earned + 1
