"""Signals while something is broken: Ctrl-C does not stop what puts back, and a fault's time ends."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from load.chaos.signals import TookTooLong, limited, undisturbed


def test_ctrl_c_waits_for_nothing_that_is_put_back() -> None:
    """However often it is pressed; afterwards it works as before."""
    before = signal.getsignal(signal.SIGINT)
    with undisturbed():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_meanwhile_ends_what_follows() -> None:
    """It is not lost: the program ends once all is put back."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored, in the background
    try:
        with pytest.raises(KeyboardInterrupt), undisturbed(later=True):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_fault_that_never_ends_is_ended() -> None:
    with pytest.raises(TookTooLong, match="it may take 0 s"), limited(0.05):
        threading.Event().wait(60)


def test_a_fault_in_time_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with limited(60):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is before
