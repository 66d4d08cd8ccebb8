"""The place of an open journal: whether its files are still those that were opened."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from shared.db.refusals import Naming
from shared.db.sqlite_file import RESCUED, make_private
from shared.errors import MusterError, StorageGone

_TICK_NS = 100_000_000  # a folder's time is no finer than the system's tick: two changes may have one time


class DatabasePlace:
    """Made once a connection has opened the file and its log."""

    def __init__(self, path: Path, naming: Naming) -> None:
        self._path = path
        self._naming = naming
        self._files = [f"{path}{end}" for end in ("", "-wal", "-shm")]
        self._opened = self._look()
        self._folder = str(path.parent)
        self._unchanged = 0

    def is_left(self) -> bool:
        """Whether a file is gone, or another is in its place. Costs one look at the folder where nothing changed."""
        try:
            changed = os.stat(self._folder).st_mtime_ns
            if changed == self._unchanged:
                return False
            if self._look() != self._opened:
                return True
        except OSError:
            return True
        if time.time_ns() - changed > _TICK_NS:
            self._unchanged = changed
        return False

    def rescue(self, connection: sqlite3.Connection) -> StorageGone:
        """Writes what the connection still has into a file of its own; says where."""
        rescued = Path(f"{self._path}{RESCUED}")
        what = f"{self._naming.what} {self._path} was removed or replaced while the {self._naming.owner} ran"
        try:
            make_private(rescued)
            connection.execute("VACUUM INTO ?", (str(rescued),))
        except (OSError, sqlite3.Error, MusterError) as exc:
            return StorageGone(f"{what}, and what it held cannot be saved ({exc}). Restore it from a backup.")
        back = f"rm -f {self._path}-wal {self._path}-shm && mv {rescued} {self._path}"
        return StorageGone(f"{what}. All it held is in {rescued}. Stop the {self._naming.owner}, then: {back}")

    def _look(self) -> list[tuple[int, int]]:
        return [(found.st_dev, found.st_ino) for found in map(os.stat, self._files)]
