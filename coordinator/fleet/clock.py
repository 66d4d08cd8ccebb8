"""The wall clock of the database: the one that all coordinators share, whatever their own says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from shared.db.database import Database
from shared.errors import MusterError

MEASURE_SECONDS = 10.0
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


class SharedClock:
    """This machine's wall clock, set by the database's."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._ahead = 0.0  # of this machine's

    def read(self) -> float:
        """Unix seconds."""
        return self._wall() + self._ahead

    async def measure(self, db: Database) -> None:
        """Half of the way there and back is taken for the way back."""
        began = self._wall()
        [[now]] = await db.read(_NOW)
        self._ahead = now - (began + self._wall()) / 2

    async def measure_forever(self, db: Database) -> None:
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            with suppress(MusterError):
                await self.measure(db)
