"""When a replay lets happen what came from outside: at the recorded moments, in the recorded order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

GAP = 2e-4  # seconds between two at the least: two hundred turns of the loop, for what follows from the first
PATIENCE_SECONDS = 0.5  # for an earlier one that does not happen: the replay has diverged

OPTIONAL = "hang_up"  # of an agent that no longer waits for a delegation: one whose code runs does that by itself

Key = tuple[Any, ...]


class Timetable:
    """The moments in their order, each by what happens then, in seconds since the task was created."""

    def __init__(self, created_at: float, events: list[dict[str, Any]], entries: list[dict[str, Any]]) -> None:
        found = sorted(_list_moments(created_at, events, entries), key=lambda moment: moment[0])  # stable
        self._keys = [key for _, _, key in found]
        self._at: list[float] = []
        for _, at, _ in found:
            self._at.append(max(at, self._at[-1]) if self._at else at)
        self._places = {key: place for place, key in enumerate(self._keys)}
        self._next = 0  # the first that has not happened
        self._last = 0.0  # when the last one did
        self._waiting: dict[int, asyncio.Event] = {}

    def find(self, *key: Any) -> float | None:
        """When it happens; None where it never did."""
        place = self._places.get(key)
        return None if place is None else self._at[place]

    def find_place(self, *key: Any) -> int:
        """In the order of all moments; after the last for what never happens."""
        return self._places.get(key, len(self._keys))

    def is_before(self, key: Key, other: Key) -> bool:
        """Whether one happens before another; also where the other one never does."""
        return other not in self._places or self.find_place(*key) < self._places[other]

    def list_all(self, kind: str) -> list[tuple[float, Key]]:
        """Everything of a kind, in its order."""
        return [(at, key) for at, key in zip(self._at, self._keys, strict=True) if key[0] == kind]

    async def wait_before(self, key: Key) -> None:
        """Until all that came before it has happened; then it has happened, too."""
        place = self._places[key]
        if place:
            await wait_until(self._at[place - 1])
        await self._wait_for_turn(place)
        self._advance(place + 1)

    async def wait(self, *key: Any) -> None:
        """Until it happens: not before its time, and not before all that came before it, as long as that comes."""
        place = self._places.get(key)
        if place is None:
            return
        await wait_until(self._at[place])
        await self._wait_for_turn(place)
        if key[0] == OPTIONAL:
            return
        await wait_until(self._last + GAP)
        self._last = asyncio.get_running_loop().time()
        self._advance(place + 1)

    def _advance(self, place: int) -> None:
        """All before a place has happened; wakes who waited for that."""
        self._next = max(self._next, place)
        while self._next < len(self._keys) and self._keys[self._next][0] == OPTIONAL:
            self._next += 1
        for waiting, news in self._waiting.items():
            if waiting <= self._next:
                news.set()

    async def _wait_for_turn(self, place: int) -> None:
        if self._next < place:
            news = self._waiting[place] = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await news.wait()
            self._waiting.pop(place, None)
        self._advance(place)


async def wait_until(at: float) -> None:
    """Sleeps until a moment of the loop's clock, if it is not over."""
    if (left := at - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(left)


def _list_moments(
    created_at: float, events: list[dict[str, Any]], entries: list[dict[str, Any]]
) -> Iterator[tuple[tuple[int, int], float, Key]]:
    """Place in the order of the task's events, seconds, and what happens."""
    told: defaultdict[str, int] = defaultdict(int)
    asked = {entry["child"] for entry in entries if entry["kind"] == "ask"}
    for event in events:
        data: Mapping[str, Any] = event["data"]
        place, at = (event["id"], 0), event["at"] - created_at
        match event["type"]:
            case "step.started":
                yield place, at, ("take", data["step_id"], data["attempt"])
            case "step.progress":
                yield place, at, ("progress", data["step_id"], data["attempt"], told[data["step_id"]])
                told[data["step_id"]] += 1
            case "step.hedged":
                yield place, at, ("hedge", data["step_id"], data["attempt"])
            case "delegation.started" | "delegation.refused" if data["step_id"] not in asked:
                yield place, at, ("ask", data["step_id"])  # a kill has cost the entry
            case "delegation.finished" if data["status"] == "cancelled":
                yield place, at, ("hang_up", data["step_id"])
    taken: defaultdict[str, int] = defaultdict(int)
    for entry in entries:
        place, at = tuple(entry["after"]), entry["at"]
        match entry["kind"]:
            case "call":
                if entry.get("depth"):
                    taken[entry["step"]] += 1
                    yield tuple(entry["began"]), entry["from"], ("take", entry["step"], taken[entry["step"]])
                if "answer" in entry or "failure" in entry:  # it was not cut off
                    yield place, at, ("end", entry["step"], entry["attempt"], entry["instance"])
            case "untaken":
                yield place, at, ("untaken", entry["step"], entry["attempt"])
            case "ask":
                yield place, at, ("ask", entry["child"])
            case "cancel" | "restart" as kind:
                yield place, at, (kind, at)
