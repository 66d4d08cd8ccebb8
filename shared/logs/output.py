"""A log stream that never waits: a line that cannot be written at once is dropped and counted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
from collections.abc import Callable
from typing import TextIO

PIECE_BYTES = 4096  # PIPE_BUF of Linux: a pipe that is ready takes so much without waiting (pipe(7))
PIPE_BYTES = 1_048_576  # the most that a process without privileges may ask for; 64 KB are 0.1 s of a full load's lines
NEWLINE = b"\n"


class LogOutput:
    """Writes lines to the file descriptor of `stream`, or drops them.

    A reader that is gone, a reader that stands still or a full disk must not hold up the work: a pipe takes what it
    has room for, and after that a plain `write` waits for ever. `dropped` counts the lines that are missing. The first
    line that can be written again is followed by `describe(n)`, where `n` is how many were dropped before it.
    """

    def __init__(self, stream: TextIO, describe: Callable[[int], str]) -> None:
        self._fd = stream.fileno()
        self._describe = describe
        self._lock = threading.Lock()
        self._ready = select.poll()
        self._ready.register(self._fd, select.POLLOUT)
        self._broken_off = False  # the last line that was written has no end
        self._unreported = 0
        self.dropped = 0
        with contextlib.suppress(OSError, AttributeError):  # no pipe, or not Linux
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def write(self, text: str) -> int:
        """Writes a line with its end; returns the length of the text, whether or not it was written."""
        with self._lock:
            if not self._put(text):
                self.dropped += 1
                self._unreported += 1
            elif self._unreported and self._put(self._describe(self._unreported)):
                self._unreported = 0
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def _put(self, text: str) -> bool:
        data = text.encode(errors="backslashreplace")
        if self._broken_off:
            data = NEWLINE + data
        written = 0
        with contextlib.suppress(OSError):  # EPIPE, ENOSPC, EIO: the log is away, the work is not
            while written < len(data) and self._ready.poll(0):
                written += os.write(self._fd, data[written : written + PIECE_BYTES])
        if written:
            self._broken_off = written < len(data)
        return written == len(data)
