"""Reads documents in a separate process: started for the first, replaced after a crash, stopped after the last."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from workers.reading.apart import messages
from workers.reading.files import File
from workers.reading.opened import Opened, unread

START_SECONDS = 30.0
READ_SECONDS, MAX_SECONDS = 10.0, 60.0  # a document's time: more for a larger one, within bounds
BYTES_A_SECOND = 50_000
LATE_SECONDS = 5.0  # after its time a process that does not end by itself is killed
AHEAD = 2  # documents that are asked for before the first is answered: one is read while another is stored
POLL_SECONDS = 0.2
ROOT = Path(__file__).parents[3]


class ReaderUnavailable(Exception):
    """The process cannot be started; says nothing about any document."""


class Stopped(Exception):
    """The service ends."""


class _Ended(Exception):
    """The process is gone; `signal_number` is what ended it, 0 where it ended by itself."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


class ReaderProcess:
    """One process at a time. Used by one thread; `stop` ends it from another."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._end()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def read(self, files: Iterable[File]) -> Iterator[tuple[File, Opened]]:
        """Each file with what became of it, in order. Raises ReaderUnavailable; ends early after `stop.set()`."""
        ahead: deque[File] = deque()
        try:
            for file in files:
                self._ask(file)
                ahead.append(file)
                if len(ahead) > AHEAD:
                    yield ahead[0], self._answer(ahead)
            while ahead:
                yield ahead[0], self._answer(ahead)
        except Stopped:
            return

    def _answer(self, ahead: deque[File]) -> Opened:
        """What became of the first file, which is taken off. One that ends the process is tried once more: it may
        have been ended from outside."""
        file = ahead[0]
        seconds = _seconds(file)
        opened: Opened | None = None
        for attempt in (1, 2):
            try:
                opened = messages.unpack(self._received(seconds + LATE_SECONDS))
                break
            except _Ended as ended:
                self._end()
                if ended.signal_number == signal.SIGALRM:
                    opened = unread(f"takes longer than {seconds:.0f} s to read")
                elif attempt == 2:
                    opened = unread(f"crashes the process that reads it ({_signal_name(ended.signal_number)})")
                for each in list(ahead)[1 if opened else 0 :]:
                    self._ask(each)
                if opened:
                    break
        ahead.popleft()
        assert opened is not None
        return opened

    def _ask(self, file: File) -> None:
        process = self._started()
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has died over an earlier one, whose answer is waited for first
            process.stdin.write(messages.Request(file.where, file.path, _seconds(file)).line())
            process.stdin.flush()

    def _received(self, seconds: float) -> bytes:
        """One answer. Raises _Ended."""
        until = time.monotonic() + seconds
        (length,) = messages.LENGTH.unpack(self._bytes(messages.LENGTH.size, until))
        return self._bytes(length, until)

    def _bytes(self, count: int, until: float) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        answers = select.poll()
        answers.register(process.stdout, select.POLLIN)
        data = bytearray()
        while len(data) < count:
            if self._stop.is_set():
                raise Stopped
            if time.monotonic() > until:
                process.kill()
                process.wait()
                raise _Ended(signal.SIGALRM)
            if not answers.poll(POLL_SECONDS * 1_000):
                continue
            piece = os.read(process.stdout.fileno(), min(count - len(data), 1_000_000))
            if not piece:
                raise _Ended(max(0, -process.wait()))
            data += piece
        return bytes(data)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.reading.apart.process"],
                cwd=ROOT,
                env={**kept, "PYTHONPATH": str(ROOT)},  # and no secrets
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libraries complain there about documents
            )
        except OSError as exc:
            raise ReaderUnavailable(f"cannot start the process that reads documents ({exc.strerror})") from exc
        try:
            self._bytes(len(messages.READY), time.monotonic() + START_SECONDS)
        except _Ended as exc:
            self._end()
            how = _signal_name(exc.signal_number)
            raise ReaderUnavailable(f"the process that reads documents exits during startup ({how})") from exc
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _seconds(file: File) -> float:
    return min(MAX_SECONDS, READ_SECONDS + file.size / BYTES_A_SECOND)


def _signal_name(signal_number: int) -> str:
    try:
        return signal.Signals(signal_number).name if signal_number else "it exits"
    except ValueError:
        return f"signal {signal_number}"
