"""The limit of whatever is durable: how often a second the disk takes 4 KB and says that it has them."""

from __future__ import annotations

import os
import time
from pathlib import Path

PAGE = b"\0" * 4096


def measure_syncs(folder: Path, seconds: float) -> float:
    """Counts appends of 4 KB a second to a file in `folder`, each followed by fdatasync."""
    path = folder / "sync"
    with path.open("wb", buffering=0) as file:
        count, began = 0, time.perf_counter()
        while (taken := time.perf_counter() - began) < seconds:
            file.write(PAGE)
            os.fdatasync(file.fileno())
            count += 1
    path.unlink()
    return count / taken
