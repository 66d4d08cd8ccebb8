"""Named points at which a test can stop the process: every durable write and every send is one.

`MUSTER_FAILPOINT=store.finish_step.committed=3` ends the process with SIGKILL when that point is reached the third
time. Unset, a point is one call of a function that does nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping

At = Callable[[str], None]


def nowhere(_: str) -> None:
    """The point function of production."""


def from_environment(environ: Mapping[str, str] = os.environ) -> At:
    """The point function that the environment asks for."""
    wish = environ.get("MUSTER_FAILPOINT", "")
    if not wish:
        return nowhere
    name, _, times = wish.partition("=")
    left = int(times or 1)
    lock = threading.Lock()

    def at(point: str) -> None:
        nonlocal left
        if point != name:
            return
        with lock:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return at
