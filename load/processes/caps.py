"""A cap on the processor time of a process, by a control group of Linux (version 2, or the older `cpu` controller)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_MICROSECONDS = 20_000  # a fifth of the kernel's own: shorter pauses between the shares


@contextmanager
def cap(name: str, cores: float) -> Iterator[Path]:
    """Makes a group whose processes have together at most so much of a core; `put` puts them in.

    Raises OSError where this user may not make one.
    """
    new = (ROOT / "cgroup.controllers").exists()
    group = (ROOT if new else ROOT / "cpu") / f"muster-{os.getpid()}-{name}"
    quota = round(cores * PERIOD_MICROSECONDS)
    with ExitStack() as stack:
        if new:
            (ROOT / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
        stack.callback(_remove, group)
        if new:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        yield group


def put(pid: int, group: Path) -> None:
    """Moves a process with all its threads into a group; its later children are born there."""
    (group / "cgroup.procs").write_text(str(pid))


def _remove(group: Path) -> None:
    """A group can go once its processes have."""
    with suppress(OSError):
        group.rmdir()
