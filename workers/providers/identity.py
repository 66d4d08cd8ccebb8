"""Which folder a researcher looks into, for a coordinator that has two of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from shared.report.sources import SKETCHED, FolderIdentity
from workers.reading import files

FEW = 8  # documents; with fewer, their sizes count as well: many a folder has a README.md


def of(folder: Path) -> FolderIdentity | None:
    """The folder's identity, from a look at it; None where it cannot be listed."""
    try:
        status, volume = os.stat(folder), os.statvfs(folder)
        found = files.look(folder).files
    except OSError:
        return None
    names = [file.path if len(found) >= FEW else f"{file.path} {file.size}" for file in found]
    sketch = sorted(hashlib.sha256(name.encode()).hexdigest()[:12] for name in names)[:SKETCHED]
    # The number of a device is its host's own, that of a file system is not; NFS says 0, and leaves the inode alone.
    return FolderIdentity(path=os.path.realpath(folder), place=f"{volume.f_fsid}:{status.st_ino}", sketch=sketch)
