"""Where a folder is, in words that are the same in every process and container that looks into it."""

from __future__ import annotations

import os
from pathlib import Path


def place_of(folder: Path) -> str:
    """File system and inode. Raises OSError for a folder that is not there.

    The number of a device is its host's own, that of a file system is not; NFS says 0, and leaves the inode alone.
    """
    return f"{os.statvfs(folder).f_fsid}:{os.stat(folder).st_ino}"
