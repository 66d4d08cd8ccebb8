"""A service that another program started ends when that program does, even by `kill -9`."""

from __future__ import annotations

import os
import signal
import threading
import time

PARENT_VARIABLE = "END_WITH_PARENT"  # holds the process id of the parent; unset: a service ends only when told to
LOOK_SECONDS = 1.0


def is_orphan() -> bool:
    """Whether the parent that `END_WITH_PARENT` names is gone."""
    parent = os.environ.get(PARENT_VARIABLE)
    return parent is not None and parent != str(os.getppid())


def end_with_parent() -> None:
    """Sends this process SIGTERM once its parent is gone; does nothing where no parent is named."""
    if PARENT_VARIABLE in os.environ:
        threading.Thread(target=_watch, name="parent", daemon=True).start()


def _watch() -> None:
    while not is_orphan():
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
