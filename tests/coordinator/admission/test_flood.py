"""Ten times the load on a hand-moved clock: what is accepted is completed, and the places stay busy."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from coordinator.admission.turns import Turn
from shared.errors import Overloaded
from tests.coordinator.admission.test_admission import Desk

PLACES = 8


@dataclass
class Flood:
    """Tasks come in, wait in order, hold a place for as long as they take, and end or run out of time."""

    desk: Desk = field(default_factory=lambda: Desk(places=PLACES, queued=1_000))
    completed: int = 0
    failed: int = 0
    refused: int = 0
    _waiting: deque[tuple[Turn, float, float]] = field(default_factory=deque)  # turn, seconds it takes, deadline
    _running: list[tuple[float, int, Turn, bool]] = field(default_factory=list)  # end, order, turn, completes
    _order: int = 0

    def run(self, *, rate: float, seconds: float, takes: Callable[[int], tuple[str, float]], timeout: float) -> float:
        """Sends tasks by the clock; returns how many a second were completed."""
        before, began = self.completed, self.desk.now
        for number in range(int(rate * seconds)):
            self._move_to(began + number / rate)
            agent, long = takes(number)
            try:
                turn = self.desk.ask(agent, seconds=timeout)
            except Overloaded:
                self.refused += 1
            else:
                self._waiting.append((turn, long, self.desk.now + timeout))
                self._start()
        return (self.completed - before) / seconds

    def drain(self) -> None:
        while self._running:
            self._move_to(self._running[0][0])

    def _move_to(self, at: float) -> None:
        while self._running and self._running[0][0] <= at:
            self.desk.now, _, turn, completes = heapq.heappop(self._running)
            self.desk.end(turn)
            self.completed += completes
            self.failed += not completes
            self._start()
        self.desk.now = at

    def _start(self) -> None:
        while self._waiting and len(self._running) < PLACES:
            turn, seconds, deadline = self._waiting.popleft()
            left = deadline - self.desk.now
            if left <= 0 or not self.desk.admission.can_be_done(turn, left):
                self.desk.admission.forget(turn)
                self.desk.open.remove(turn)
                self.failed += 1
                continue
            self.desk.begin(turn)
            self._order += 1
            end = self.desk.now + min(seconds, left)
            heapq.heappush(self._running, (end, self._order, turn, seconds <= left))


def steadily(seconds: float) -> Callable[[int], tuple[str, float]]:
    return lambda number: ("chat", seconds * (0.6 + 0.1 * (number % 9)))  # on average as much


@pytest.mark.parametrize("timeout", [1.5, 5.0, 30.0])
@pytest.mark.parametrize("times", [2, 10])
def test_overload_completes_as_much_as_the_most(times: int, timeout: float):
    flood, most = Flood(), PLACES / 0.5

    goodput = flood.run(rate=times * most, seconds=120, takes=steadily(0.5), timeout=timeout)
    flood.drain()

    assert goodput >= 0.95 * most
    assert flood.failed <= 0.02 * flood.completed
    assert flood.refused >= 0.9 * (times - 1) * most * 120 - 1_000


def test_chats_beside_reports_of_a_minute_are_completed_in_time():
    """Every hundredth task holds its place for six hundred times as long as the others."""
    flood, mean = Flood(), 0.99 * 0.1 + 0.01 * 60.0

    def takes(number: int) -> tuple[str, float]:
        return ("report", 60.0) if number % 100 == 0 else ("chat", 0.1)

    goodput = flood.run(rate=10 * PLACES / mean, seconds=1_200, takes=takes, timeout=300.0)
    flood.drain()

    assert goodput >= 0.8 * PLACES / mean
    assert flood.failed <= 0.05 * flood.completed


def test_slower_agents_are_noticed_during_the_flood():
    """Suddenly each task takes five times as long: what was accepted before is late, what comes later is not."""
    flood, most = Flood(), PLACES / 0.5
    flood.run(rate=10 * most, seconds=60, takes=steadily(0.5), timeout=10.0)

    flood.run(rate=10 * most, seconds=60, takes=steadily(2.5), timeout=10.0)
    late = flood.failed
    goodput = flood.run(rate=10 * most, seconds=120, takes=steadily(2.5), timeout=10.0)

    assert goodput >= 0.9 * most / 5
    assert flood.failed - late <= 0.02 * flood.completed


def test_after_the_flood_nobody_is_refused():
    flood, most = Flood(), PLACES / 0.5
    flood.run(rate=10 * most, seconds=60, takes=steadily(0.5), timeout=5.0)
    refused = flood.refused
    flood.desk.now += 5.0

    flood.run(rate=0.8 * most, seconds=60, takes=steadily(0.5), timeout=5.0)

    assert flood.refused == refused
