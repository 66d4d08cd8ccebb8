"""Clocks that no jump of the wall clock moves: the machine's own since it booted, and Unix time that goes by it."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from coordinator.journal import sql
from shared import logs
from shared.db.database import Database, Statement
from shared.errors import StorageUnwritable

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4); containers see their host's
MARK = "boot"
BELIEVED_SECONDS = 86_400.0  # after which a clock that has jumped is believed: time to notice that it is wrong
JUMP_SECONDS = 60.0  # less is a correction
LOOK_SECONDS = 60.0
_KEY = "clock"
Clock = Callable[[], float]


@dataclass(frozen=True)
class Boot:
    """One boot of one machine, and the seconds since then, those included that it slept (CLOCK_BOOTTIME)."""

    id: str
    read: Clock


def find_boot() -> Boot | None:
    """The boot that this process runs in; None on systems that do not tell."""
    if sys.platform != "linux":
        return None
    try:
        name = BOOT_ID.read_bytes().strip()
        time.clock_gettime(time.CLOCK_BOOTTIME)
    except OSError:
        return None
    return Boot(hashlib.sha256(name).hexdigest()[:8], partial(time.clock_gettime, time.CLOCK_BOOTTIME))


def mark(boot: Boot | None, seconds: float) -> dict[str, JsonValue]:
    """What an event keeps for a later start: this boot, and when so many seconds will have gone by since it began."""
    return {} if boot is None else {MARK: [boot.id, round(boot.read() + seconds, 3)]}


class SettledClock:
    """Unix seconds for what is deleted by its age: the wall clock, but a jump ahead counts a day later.

    The day goes on over restarts in one boot. At the first start in another boot the wall clock is believed, as it is
    at every start where there is no boot id.
    """

    def __init__(self, db: Database, *, wall: Clock, now: Clock, boot: Boot | None) -> None:
        self._db = db
        self._wall = wall
        self._boot = boot
        self._clock = now if boot is None else boot.read
        self._offset = wall() - self._clock()
        self._jump = 0.0  # seconds that are not believed yet
        self._jumped_at = 0.0  # by the boot's clock
        self._kept: dict[str, Any] = {}

    async def open(self) -> None:
        """Takes up what the last start in this boot knew."""
        rows = await self._db.read(sql.GET_META, {"key": _KEY})
        kept = from_json(rows[0][0]) if rows else {}
        if self._boot is not None and kept.get("boot") == self._boot.id:
            self._offset, self._jump, self._jumped_at = kept["offset"], kept["jump"], kept["jumped_at"]
            self._kept = kept
        await self.look()

    def __call__(self) -> float:
        return min(self._wall(), self.read_unmoved())

    def read_unmoved(self) -> float:
        """The time as if the wall clock had not jumped in the last day, ahead or back."""
        return self._offset + self._clock()

    async def look(self) -> None:
        """Compares the clocks."""
        off, at = self._wall() - self.read_unmoved(), self._clock()
        if abs(off - self._jump) >= JUMP_SECONDS:
            logs.get().warning("clock.jumped", seconds=round(off - self._jump, 3))
            self._jump, self._jumped_at = off, at
        if abs(off) < JUMP_SECONDS or at - self._jumped_at > BELIEVED_SECONDS:
            self._offset, self._jump = self._offset + off, 0.0
        if (self._jump, self._jumped_at) != (self._kept.get("jump"), self._kept.get("jumped_at")):
            await self._keep()

    async def watch_forever(self) -> None:
        """Looks every minute."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def _keep(self) -> None:
        said: dict[str, Any] = {"offset": self._offset, "jump": self._jump, "jumped_at": self._jumped_at}
        said["boot"] = self._boot and self._boot.id
        with suppress(StorageUnwritable):  # the journal says so itself
            row = {"key": _KEY, "value": to_json(said).decode()}
            await self._db.write("store.clock", Statement(sql.SET_META, row))
            self._kept = said
