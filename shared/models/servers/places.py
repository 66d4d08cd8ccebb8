"""The calls that are in flight to one model, and those that wait for their turn: first come, first served."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


class NoTurn(Exception):
    """A call cannot be served in its time; the text says what is before it."""


@dataclass(eq=False)
class CallPlace:
    """Of one call; `seconds` is what it takes, as far as is known."""

    seconds: float | None
    began: float = 0.0
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Places:
    """At most so many calls at once. `now` is a monotonic clock in seconds."""

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._running: list[CallPlace] = []
        self._waiting: deque[CallPlace] = deque()

    def narrow(self, most: int) -> None:
        """From now on not more than so many at once."""
        self._most = max(1, min(self._most, most))

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def wait_seconds(self) -> float:
        """How long a call that came now would wait, by what those before it take; 0 where a place is free."""
        if len(self._running) < self._most and not self._waiting:
            return 0.0
        now = self._now()
        free = [max(0.0, (call.seconds or 0.0) - (now - call.began)) for call in self._running]
        free += [0.0] * (self._most - len(free))
        heapq.heapify(free)
        for call in self._waiting:
            heapq.heappush(free, heapq.heappop(free) + (call.seconds or 0.0))
        return free[0]

    @asynccontextmanager
    async def taken(self, seconds: float | None, *, within: float) -> AsyncIterator[CallPlace]:
        """A place for a call that takes `seconds` (None: not known), held till the end of the block.

        Raises NoTurn where the queue leaves too little of `within` for it: at once where that is to be expected.
        """
        wait = self.wait_seconds()
        if wait + (seconds or 0.0) > within and wait > 0:
            before = len(self._running) + len(self._waiting)
            raise NoTurn(f"{before} calls are before this one, for about {wait:.0f} s")
        call = CallPlace(seconds)
        if len(self._running) < self._most and not self._waiting:
            self._begin(call)
        else:
            self._waiting.append(call)
        try:
            try:
                async with asyncio.timeout(within - (seconds or 0.0)):
                    await call.turn
            except TimeoutError:
                raise NoTurn("the calls before this one took longer than the last ones") from None
            yield call
        finally:
            self._end(call)

    def _begin(self, call: CallPlace) -> None:
        call.began = self._now()
        self._running.append(call)
        if not call.turn.done():
            call.turn.set_result(None)

    def _end(self, call: CallPlace) -> None:
        if call in self._running:
            self._running.remove(call)
        else:
            self._waiting.remove(call)
        while self._waiting and len(self._running) < self._most:
            self._begin(self._waiting.popleft())
