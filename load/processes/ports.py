"""Ports for processes that are about to start: one machine, one counter, so that no two of them get the same port."""

from __future__ import annotations

import fcntl
import os
import random
import socket
from pathlib import Path

FIRST = 10_000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")  # ip(7): what the kernel gives to outgoing connections
COUNTER = Path("/tmp")  # not TMPDIR, which differs from one run to the next


def free_port(count: int = 1, *, counter: Path = COUNTER / f"muster-ports-{os.getuid()}") -> int:
    """Returns a port on 127.0.0.1 that nobody listens on, or the first of `count` such ports in a row.

    Nobody else gets it here until all the others have been given: the counter is a file, and one process at a time
    reads and writes it. Port 0 would be a port that any outgoing connection may take before a server binds it.

    Raises RuntimeError when no such ports are free.
    """
    last = _find_last()
    with os.fdopen(os.open(counter, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        port = int(text) if text.isdigit() else random.randint(FIRST, last)
        for _ in range(FIRST, last + 2 - count):
            if not FIRST <= port <= last + 1 - count:
                port = FIRST
            if all(_is_free(one) for one in range(port, port + count)):
                file.seek(0)
                file.truncate()
                file.write(str(port + count))
                return port
            port += 1
    raise RuntimeError(f"No {count} ports in a row are free from {FIRST} to {last}.")


def _find_last() -> int:
    try:
        first_ephemeral = int(EPHEMERAL.read_text().split()[0])
    except OSError:
        first_ephemeral = 32_768
    return first_ephemeral - 1 if first_ephemeral > FIRST + 1_000 else 32_767


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
