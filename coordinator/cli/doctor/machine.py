"""What this machine says of its memory and its disks."""

from __future__ import annotations

import shutil
from pathlib import Path

from coordinator.cli.doctor.facts import Disk


def look_at_disk(folder: Path) -> tuple[Disk, ...]:
    """The file system under a folder; nothing where it is not there."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:  # not there yet, or on another machine
        return ()
    return (Disk(folder=str(folder), total_bytes=usage.used + usage.free, free_bytes=usage.free),)


def find_available_memory() -> float | None:
    """The share of this machine's memory that can be had; None where Linux is not."""
    try:
        rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(rows["MemAvailable"].split()[0]) / int(rows["MemTotal"].split()[0])
    except (OSError, KeyError, ValueError):
        return None
