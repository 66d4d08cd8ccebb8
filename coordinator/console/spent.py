"""Tokens that were spent before this process began, counted from the journal once somebody asks for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from coordinator.api.dependencies import Services
from coordinator.journal.lookups.spent import Spending, read_spent
from shared import logs
from shared.background import Background
from shared.errors import MusterError

DAY = 86_400.0
SPENT = "console_spent"  # where the app keeps it
PATIENCE_SECONDS = 0.05  # that a page waits for the count; a watched one gets it later


class Spent:
    """Adds the last day of the journal to the meter's tokens, once."""

    def __init__(self, *, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._counting: asyncio.Task[None] | None = None
        self._background: Background | None = None

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

    async def count(self, services: Services) -> None:
        """Begins to count; a short history is counted when this returns."""
        if self._counting is None and self._background is not None:
            self._counting = self._background.once("console:tokens", self._count(services))
        if self._counting is not None:
            await asyncio.wait({self._counting}, timeout=PATIENCE_SECONDS)

    async def _count(self, services: Services) -> None:
        tokens, found = services.meter.tokens, list[Spending]()
        began = time.monotonic()
        try:
            async for some in read_spent(services.store, since=tokens.began - DAY, until=tokens.began):
                found += some
                await asyncio.sleep(time.monotonic() - began)  # others have half of the time
                began = time.monotonic()
        except MusterError as exc:
            logs.get().warning("console.tokens_unknown", why=exc.detail)
        for one in found:
            tokens.add(one.read, one.written, at=one.at)
