"""The disks of a simulation: what is written there, how it fails, and what a crash leaves."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from random import Random
from typing import Protocol

LOST_AT_A_POWER_CUT = ("-shm", ".lock")


class Abandoned(Protocol):
    """A database whose process may be killed."""

    def abandon(self) -> None:
        """Closes what a killed process has left open, as the operating system does."""


class Disk:
    """The disk of one host; what is written to it takes `seconds`, and fails while it is `full` or `broken`."""

    def __init__(self, folder: Path, random: Random) -> None:
        self.folder = folder
        self.random = random
        self.full = self.broken = False
        self.seconds = 0.0
        self.power_cut = False  # the next crash takes the unsynced end of the log along
        self.databases: list[Abandoned] = []
        folder.mkdir(parents=True, exist_ok=True)

    def check(self, point: str) -> None:
        """Raises as SQLite does."""
        if not point.endswith(".queued"):
            return
        if self.broken:
            raise _make_error("disk I/O error", sqlite3.SQLITE_IOERR)
        if self.full:
            raise _make_error("database or disk is full", sqlite3.SQLITE_FULL)

    def crash(self) -> None:
        """Leaves the files as they are on the disk at this moment, and closes what the dead process had open."""
        held = {path: path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}
        databases, self.databases = self.databases, []
        for database in databases:
            database.abandon()
        shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        for path, content in held.items():
            if self.power_cut and path.name.endswith(LOST_AT_A_POWER_CUT):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if self.power_cut:
            for path in held:
                if path.name.endswith("-wal"):
                    self._tear(path)
        self.power_cut = False

    def _tear(self, log: Path) -> None:
        """What was written after the last sync may be there in part: bytes that no commit belongs to."""
        with log.open("ab") as file:
            file.write(self.random.randbytes(self.random.choice((0, 1, 31, 4096, 5000))))


def _make_error(text: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error
