"""The journal of a simulation: the product's own SQLite, whose writer is no thread and commits in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.db.database import Function
from shared.db.sqlite import Sqlite
from tests.simulation.world.process import Killed, Process, current


class SimulatedSqlite(Sqlite):
    """The product's own journal, whose writer commits in the loop, `disk.seconds` after it was given something."""

    def __init__(self, path: Path, **more: Any) -> None:
        super().__init__(path, **more)
        self._process: Process = current()
        self._disk = self._process.disk
        self._disk.databases.append(self)
        self._at = self._check_point
        self._due = False

    async def open(self, migrations: Sequence[str], functions: Mapping[str, Function] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._open(migrations, functions or {})

    async def close(self) -> None:
        self._closed = True
        self._send()
        self._write_all()
        self._reader.close()
        self._lists.close()
        if self._writer is not None:
            self._writer.close()
        self._lock.close()
        if self in self._disk.databases:
            self._disk.databases.remove(self)

    def post(self, name: str, *statements: Any, then: Any = None) -> None:
        super().post(name, *statements, then=then)
        if self._closed:
            self._write_all()

    def abandon(self) -> None:
        """Closes what a killed process has left open, as the operating system does."""
        self._reader.close()
        self._lists.close()
        if self._writer is not None:
            self._writer.close()
        self._lock.close()

    def _send(self) -> None:
        super()._send()
        if not self._due and not self._queue.empty():
            self._due = True
            self._loop.call_later(self._disk.seconds, self._write_all)

    def _write_all(self) -> None:
        self._due = False
        while not self._queue.empty() and self._process.alive and self._writer is not None:
            batch, _ = self._take_batch()
            try:
                if batch:
                    self._commit(self._writer, batch)
            except Killed:
                return

    def _check_point(self, point: str) -> None:
        self._disk.check(point)
        self._process.at(point)
