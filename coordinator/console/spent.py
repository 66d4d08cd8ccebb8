"""Tokens that this process has not seen being spent, counted from the journal once somebody asks for them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from coordinator.api.dependencies import Services
from coordinator.journal.location import is_server
from coordinator.journal.lookups.spent import Spending, read_spent
from coordinator.observers.minutes import MINUTE, Minutes
from shared import logs
from shared.background import Background
from shared.errors import MusterError

DAY = 86_400.0
AGAIN = 120.0  # seconds that are counted once more: a step is durable a while after its end
SPENT = "console_spent"  # where the app keeps it
PATIENCE_SECONDS = 0.05  # that a page waits for the count; a watched one gets it later


class Spent:
    """The tokens of the last day: those that the meter has seen, and before them those of the journal.

    Of a journal that other coordinators share, all are the journal's, and what is new is read each time.
    """

    def __init__(self, *, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._counting: asyncio.Task[None] | None = None
        self._background: Background | None = None
        self._shared: Minutes | None = None
        self._until = 0.0  # what ended before then is in `_shared`

    @property
    def known(self) -> bool:
        """Whether all is counted."""
        return self._counting is not None and self._counting.done()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Ends a count that goes on when the coordinator stops."""
        async with Background(self._fail) as background:
            self._background = background
            yield

    async def count(self, services: Services) -> Minutes:
        """The tokens by the minute; the count goes on where it takes longer than a page may wait."""
        if self._shared is None and is_server(services.settings.database_url):
            self._shared = Minutes(services.wall)
        if self._counting is None and self._background is not None:
            self._counting = self._background.once("console:tokens", self._count(services))
        if self._counting is not None:
            await asyncio.wait({self._counting}, timeout=PATIENCE_SECONDS)
        if self._shared is None:
            return services.meter.tokens
        if self.known:
            await self._catch_up(services, self._shared)
        return self._shared

    async def _count(self, services: Services) -> None:
        tokens, found = self._shared or services.meter.tokens, list[Spending]()
        until = self._until = services.wall() if self._shared is not None else tokens.began
        began = time.monotonic()
        try:
            async for some in read_spent(services.store, since=until - DAY, until=until):
                found += some
                await asyncio.sleep(time.monotonic() - began)  # others have half of the time
                began = time.monotonic()
        except MusterError as exc:
            logs.get().warning("console.tokens_unknown", why=exc.detail)
        for one in found:
            tokens.add(one.read, one.written, at=one.at)

    async def _catch_up(self, services: Services, tokens: Minutes) -> None:
        """Counts the last minutes anew."""
        since, now = (self._until - AGAIN) // MINUTE * MINUTE, services.wall()
        async for some in read_spent(services.store, since=since, until=math.inf):
            for one in some:
                tokens.put(one.read, one.written, at=one.at)
        self._until = now
