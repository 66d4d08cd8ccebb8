"""The lock on a journal: one process has it, whatever name of the file it came by."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from shared.db.refusals import JOURNAL, Naming, explain
from shared.errors import StorageBroken


class Lock:
    """Held from `take` to `close`: a locked file beside the journal, and the journal's file itself.

    The file beside is there before the journal and tells who holds it; a hard link has another one beside it. A
    descriptor of the journal must stay open for as long as SQLite has the file: its close would end SQLite's locks.
    """

    def __init__(self, path: Path, naming: Naming = JOURNAL) -> None:
        self._path = path
        self._naming = naming
        self._where = f"{naming.what} {path}"
        self._open: list[int] = []

    def take(self) -> None:
        """Raises `StorageBroken` while another process has it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._open.append(beside)
            if not _lock(beside):
                holder = os.pread(beside, 32, 0).decode(errors="replace").strip() or "unknown"
                raise StorageBroken(
                    f"{self._where} is in use by another {self._naming.owner} (process {holder}). "
                    f"Stop it, or set another {self._naming.setting}."
                )
            os.ftruncate(beside, 0)
            os.pwrite(beside, f"{os.getpid()}\n".encode(), 0)
            if self._path.is_file():
                self.cover_file()
        except OSError as exc:
            self.close()
            raise explain(exc, self._path, self._naming) from exc
        except StorageBroken:
            self.close()
            raise

    def cover_file(self) -> None:
        """Locks the file itself, once there is one; raises `StorageBroken` while another process has it."""
        if len(self._open) > 1 or not os.access(self._path, os.R_OK | os.W_OK):
            return
        self._open.append(os.open(self._path, os.O_RDWR | os.O_CLOEXEC))
        free = True
        with suppress(OSError):  # it has no locks of this kind; the file beside is locked
            free = _lock(self._open[-1])
        if not free:
            raise StorageBroken(
                f"{self._where} is in use by another {self._naming.owner} under another name, a hard link. "
                f"Stop it, or set another {self._naming.setting}."
            )

    def close(self) -> None:
        """To be called once SQLite has closed the file."""
        while self._open:
            os.close(self._open.pop())


def _lock(descriptor: int) -> bool:
    """Whether no other process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
