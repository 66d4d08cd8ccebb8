"""The limit of whatever is durable: how often a second the disk takes 4 KB and says that it has them."""

from __future__ import annotations

import os
import time
from pathlib import Path

PAGE = b"\0" * 4096


def measure_syncs(folder: Path, seconds: float) -> float:
    """Appends of 4 KB, each followed by fdatasync, one after the other, in a file of `folder`."""
    path = folder / "sync"
    with path.open("wb", buffering=0) as file:
        count, began = 0, time.perf_counter()
        while (taken := time.perf_counter() - began) < seconds:
            file.write(PAGE)
            os.fdatasync(file.fileno())
            count += 1
    path.unlink()
    return count / taken
