"""Processor time and memory of a process, as Linux counts them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def read_cpu_seconds(pid: int) -> float:
    """Reads the seconds of processor time that a process has used, all its threads together (proc(5): utime, stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_session_cpu_seconds(pid: int) -> float:
    """Reads the seconds of processor time of a process that `Stage` started and its children (proc(5): session)."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == pid:
                total += sum(int(fields[n]) for n in (11, 12, 13, 14))
    return total / os.sysconf("SC_CLK_TCK")


def read_family_cpu_seconds(pid: int) -> float:
    """Reads the seconds of processor time of a process and its children, also those that have ended (proc(5): ppid)."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            fields = stat.read_text().rpartition(")")[2].split()
            if pid in (int(stat.parent.name), int(fields[1])):
                total += sum(int(fields[n]) for n in (11, 12, 13, 14))
    return total / os.sysconf("SC_CLK_TCK")


def read_pss_megabytes(pid: int) -> float:
    """Reads the memory of a process in 10^6 bytes, shared pages divided among those that share them (proc(5): Pss)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def read_thread_cpu_seconds(pid: int) -> float:
    """Reads the seconds of processor time of a process's present threads, to the nanosecond (schedstat; Linux)."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9
