"""A document on its way: a hidden file beside the others, until it is whole and gets its name."""

from __future__ import annotations

import fcntl
import filecmp
import os
import secrets
import threading
from pathlib import Path

MARK = ".part-"
MODE = 0o644  # researchers may run as another user


class Part:
    """Every method blocks; they may be called in different threads, and wait for each other."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError."""
        self.path = folder / f"{MARK}{secrets.token_hex(8)}"
        self._lock = threading.Lock()
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # as long as somebody writes it
        os.fchmod(self._file, MODE)  # whatever the umask

    def write(self, data: bytes) -> None:
        """Raises OSError."""
        view = memoryview(data)
        with self._lock:
            while view:
                view = view[os.write(self._file, view) :]

    def finish(self, data: bytes) -> None:
        """Writes the last of it; then all is on the disk. Raises OSError."""
        self.write(data)
        with self._lock:
            os.fsync(self._file)

    def is_same_as(self, other: Path) -> bool:
        """Whether both hold the same. Raises OSError."""
        return filecmp.cmp(self.path, other, shallow=False)

    def place(self, to: Path) -> None:
        """Gives it its name, in place of what has it. Raises OSError."""
        os.rename(self.path, to)

    def discard(self) -> None:
        """Closes it, and removes it unless it has got its name."""
        with self._lock:
            os.close(self._file)
        self.path.unlink(missing_ok=True)


def remove_left(folder: Path) -> int:
    """Removes what a killed process left half done; how many there were. Raises OSError.

    What another coordinator is writing is left alone.
    """
    left = [path for path in folder.iterdir() if path.name.startswith(MARK) and not _is_written(path)]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _is_written(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
