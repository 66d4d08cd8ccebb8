"""What one process may do: one simulation at a time, which a real time ends even where code in it never returns."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tests.simulation.world.virtual_time import REAL_CLOCK

_one = threading.Lock()


@contextmanager
def alone() -> Iterator[None]:
    """Raises RuntimeError where another simulation runs in this process: clocks and chance belong to the process."""
    if not _one.acquire(blocking=False):
        raise RuntimeError("A simulation already runs in this process. Run two of them in two processes.")
    try:
        yield
    finally:
        _one.release()


@contextmanager
def alarm(seconds: float, ring: Callable[[], None]) -> Iterator[None]:
    """Calls `ring` after real seconds, in the middle of whatever runs; it may raise. Another alarm is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_: int, __: FrameType | None) -> None:
        ring()

    began = REAL_CLOCK()
    handler = signal.signal(signal.SIGALRM, handle)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.1, left - (REAL_CLOCK() - began)))
