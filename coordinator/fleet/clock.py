"""The wall clock of the database: the one that all coordinators share, whatever their own says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from shared.db.database import Database
from shared.errors import MusterError

MEASURE_SECONDS = 10.0
DOUBTED_SECONDS = 1.0  # an answer that took longer tells nothing new
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


class SharedClock:
    """The database's wall clock, which goes on here by `steady`, so that no jump of this machine's is noticed.

    Until the first look it is `wall`, this machine's.
    """

    def __init__(self, wall: Callable[[], float], steady: Callable[[], float]) -> None:
        self._steady = steady
        self._offset = wall() - steady()
        self._measured = False

    def read(self) -> float:
        """Unix seconds."""
        return self._steady() + self._offset

    async def measure(self, db: Database) -> None:
        """Half of the way there and back is taken for the way back."""
        began = self._steady()
        [[now]] = await db.read(_NOW)
        ended = self._steady()
        if not self._measured or ended - began <= DOUBTED_SECONDS:
            self._offset, self._measured = now - (began + ended) / 2, True

    async def measure_forever(self, db: Database) -> None:
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            with suppress(MusterError):
                await self.measure(db)
