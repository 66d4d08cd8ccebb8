"""How many descriptors this process may have open, and how many of them are kept for what must go on."""

from __future__ import annotations

import os
import resource
import sys
from functools import cache

CALLERS_LEAVE = 64  # for calls to agents, and for the spare connections
CALLS_LEAVE = 32  # for these: what is accepted already is finished before more is accepted
SPARE = 24  # connections on which /health, /ready and heartbeats are served; the rest is for files


@cache
def limit() -> int:
    """The soft limit of this process (`ulimit -n`), as it was when first asked for."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def scaled(count: int) -> int:
    """One of the numbers above; less where the limit is below 128."""
    return count * min(limit(), 128) // 128


def leaves(kept: int, descriptor: int) -> bool:
    """Whether a descriptor that was just opened leaves so many above it.

    The system gives out the lowest number that is free (POSIX, `open`): nothing needs to be counted.
    """
    return descriptor < limit() - scaled(kept)


def are_short(kept: int) -> bool:
    """Whether fewer than so many are free now."""
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return True
    os.close(descriptor)
    return not leaves(kept, descriptor)
