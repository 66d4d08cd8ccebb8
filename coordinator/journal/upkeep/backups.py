"""Backups by a timer: one folder each, checked by opening it, the oldest beyond a number removed."""

from __future__ import annotations

import asyncio
import calendar
import math
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from coordinator.journal.location import journal_path, why_no_file
from coordinator.journal.migrations import MIGRATIONS
from coordinator.journal.upkeep.backup import BESIDE, BackupFailed, backup
from shared import logs
from shared.errors import MusterError
from shared.settings import CoordinatorSettings

AGAIN_SECONDS = 300.0  # after a backup that failed, or sooner where they come more often
_STAMP = "%Y%m%dT%H%M%SZ"  # a folder's name, in UTC; names sort by time
_NAME = re.compile(r"\d{8}T\d{6}Z\Z")


class Backups:
    """The folder of timed backups; `tell` gets "ok" or "failed" for each."""

    def __init__(
        self,
        database_url: str,
        *,
        folder: Path,
        every: float | None,
        keep: int,
        wall: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        self._database_url = database_url
        self._folder = folder
        self.every = every
        self._keep = keep
        self._wall = wall
        self._tell = tell

    @classmethod
    def of(cls, settings: CoordinatorSettings, *, wall: Callable[[], float], tell: Callable[[str], None]) -> Backups:
        """As the settings want them; raises `MusterError` where there is nothing to back up."""
        url, every = settings.database_url, settings.backup_every
        if every is not None and journal_path(url) is None:
            raise MusterError(
                f"BACKUP_EVERY is set. {why_no_file(url, instead='Run pg_dump on a schedule, and unset BACKUP_EVERY.')}"
            )
        return cls(url, folder=settings.backup_dir, every=every, keep=settings.backup_keep, wall=wall, tell=tell)

    def age(self) -> float:
        """Seconds since the newest backup was made, +Inf while there is none."""
        found = find_backups(self._folder)
        if not found:
            return math.inf
        made = time.strptime(found[-1].name, _STAMP)
        return max(0.0, self._wall() - calendar.timegm(made))

    async def make_forever(self) -> None:
        """Makes one whenever the newest is older than `every` seconds, also across restarts."""
        assert self.every is not None
        while True:
            await asyncio.sleep(max(0.0, self.every - await asyncio.to_thread(self.age)))
            try:
                made, size = await asyncio.to_thread(self.make)
            except (BackupFailed, OSError) as exc:
                self._tell("failed")
                logs.get().error("backup.failed", why=getattr(exc, "detail", None) or str(exc))
                await asyncio.sleep(min(AGAIN_SECONDS, self.every))
            else:
                self._tell("ok")
                logs.get().info("backup.made", folder=str(made), megabytes=round(size / 1e6, 1))

    def make(self) -> tuple[Path, int]:
        """Makes one now, and removes the oldest; its folder and bytes. Raises `BackupFailed` or OSError."""
        name = time.strftime(_STAMP, time.gmtime(self._wall()))
        made, part = self._folder / name, self._folder / f".{name}.part"
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(".*.part"):  # by a kill
            shutil.rmtree(left, ignore_errors=True)
        try:
            size = backup(self._database_url, part)
            check_backup(part)
            part.rename(made)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        ahead = [other for other in find_backups(self._folder) if other.name > name]  # the clock has gone back since
        for old in [*ahead, *(other for other in find_backups(self._folder) if other not in ahead)][: -self._keep]:
            shutil.rmtree(old, ignore_errors=True)
        return made, size


def find_backups(folder: Path) -> list[Path]:
    """The timed backups in a folder, the oldest first."""
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if _NAME.match(path.name) and path.is_dir())
    return []


def check_backup(folder: Path) -> Path:
    """Opens every file of a backup; its journal. Raises `BackupFailed` for one that could not be restored."""
    files = sorted(folder.glob("*.db"))
    journals = [path for path in files if path.name not in BESIDE]
    if len(journals) != 1:
        raise BackupFailed(f"{folder} is not a backup: it holds {len(journals)} journals instead of one.")
    for path in files:
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
                verdict = opened.execute("PRAGMA quick_check(1)").fetchone()[0]
                version = opened.execute("PRAGMA user_version").fetchone()[0]
                if path in journals:
                    opened.execute("SELECT (SELECT count(*) FROM tasks), (SELECT max(id) FROM events)").fetchone()
        except sqlite3.Error as exc:
            raise BackupFailed(f"{path} cannot be used: {exc}.") from exc
        if verdict != "ok":
            raise BackupFailed(f"{path} is damaged: {verdict.splitlines()[-1]}.")
        if path in journals and version > len(MIGRATIONS):
            raise BackupFailed(
                f"{path} was written by a newer Muster (format {version}, this one knows {len(MIGRATIONS)})."
            )
    return journals[0]
