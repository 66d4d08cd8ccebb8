"""Signals while something is broken: what is put back is put back whole, and no fault takes longer than it may."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


class TookTooLong(Exception):
    """A fault has used up its time."""


@contextlib.contextmanager
def undisturbed(*, later: bool = False) -> Iterator[None]:
    """Ctrl-C and SIGTERM have no effect in the block, however often they come; with `later`, the last has it after."""
    came: list[int] = []
    ending = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda sent, _: came.append(sent)) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if later and came:
        signal.raise_signal(came[-1])


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises `TookTooLong` in the block after so many seconds."""

    def ring(_: int, __: FrameType | None) -> NoReturn:
        raise TookTooLong(f"it may take {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def end_in_order() -> None:
    """From now on SIGTERM ends this program as Ctrl-C does: what must be put back is put back."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended by SIGTERM."))
