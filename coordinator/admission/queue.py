"""PURE: what waits for a place, in an order that is fair between keys and between the tenants of one key."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

from coordinator.admission.seat import Target, Wait

MOST_DEAD = 16  # waits that have ended and still stand in one heap, or as many as wait, whichever is more
W = TypeVar("W", bound=Wait)


@dataclass
class _Heap(Generic[W]):
    """What waits in one lane for the same targets: higher priority first, then first come, first served."""

    entries: list[tuple[int, int, int, W]] = field(default_factory=list)
    dead: int = 0

    def look(self) -> tuple[int, int, int, W] | None:
        while self.entries and self.entries[0][-1].gone:
            heapq.heappop(self.entries)
            self.dead -= 1
        return self.entries[0] if self.entries else None


@dataclass
class _Turn(Generic[W]):
    """A tenant's place in the round: the one with the lowest `time` is next."""

    time: float
    heaps: dict[tuple[Target, ...], _Heap[W]] = field(default_factory=dict)
    waiting: int = 0


@dataclass
class _Key(Generic[W]):
    time: float
    tenants: dict[str | None, _Turn[W]] = field(default_factory=dict)
    now: float = 0.0


class FairQueue(Generic[W]):
    """Start-time fair queueing (Goyal, Vin and Cheng, 1996): every start costs a key 1 / weight, a tenant 1.

    Who has nothing waiting saves nothing up. Priority orders the tasks of one tenant only.
    """

    def __init__(self, weight_of: Callable[[str | None], float]) -> None:
        self._weight_of = weight_of
        self._keys: dict[str | None, _Key[W]] = {}
        self._now = 0.0
        self._ties = count()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, wait: W) -> None:
        """Adds what waits; one that waited before keeps its order."""
        seat = wait.seat
        key = self._keys.setdefault(seat.lane.key, _Key(self._now))
        turn = key.tenants.setdefault(seat.lane.tenant, _Turn(key.now))
        heap = turn.heaps.setdefault(wait.targets, _Heap())
        heapq.heappush(heap.entries, (-seat.priority, seat.order, next(self._ties), wait))
        turn.waiting += 1
        self._length += 1

    def discard(self, wait: W) -> None:
        """It waits no more."""
        wait.gone = True
        heap = self._keys[wait.seat.lane.key].tenants[wait.seat.lane.tenant].heaps[wait.targets]
        heap.dead += 1
        if heap.dead > max(MOST_DEAD, len(heap.entries) // 2):
            heap.entries = [entry for entry in heap.entries if not entry[-1].gone]
            heapq.heapify(heap.entries)
            heap.dead = 0
        self._forget(wait)

    def take(self, find: Callable[[W], str | None]) -> tuple[W, str] | None:
        """Takes the next one that may start, and what `find` said of it; None for one that may not."""
        for key in sorted(self._keys.values(), key=_time):
            for turn in sorted(key.tenants.values(), key=_time):
                heads = [entry for heap in turn.heaps.values() if (entry := heap.look()) is not None]
                for entry in sorted(heads) if len(heads) > 1 else heads:
                    if (found := find(entry[-1])) is not None:
                        self._remove(key, turn, entry[-1])
                        return entry[-1], found
        return None

    def _remove(self, key: _Key[W], turn: _Turn[W], wait: W) -> None:
        heapq.heappop(turn.heaps[wait.targets].entries)
        wait.gone = True
        if not wait.seat.charged:
            wait.seat.charged = True
            self._now, key.now = max(self._now, key.time), max(key.now, turn.time)
            key.time += 1 / self._weight_of(wait.seat.lane.key)
            turn.time += 1
        self._forget(wait)

    def _forget(self, wait: W) -> None:
        """Takes one off the counts, and what is empty off the lists."""
        self._length -= 1
        lane, key = wait.seat.lane, self._keys[wait.seat.lane.key]
        turn = key.tenants[lane.tenant]
        turn.waiting -= 1
        if turn.heaps[wait.targets].look() is None:
            del turn.heaps[wait.targets]
        if not turn.waiting:
            del key.tenants[lane.tenant]
        if not key.tenants:
            del self._keys[lane.key]


def _time(turn: _Key[W] | _Turn[W]) -> float:
    return turn.time
