"""Which folder a researcher looks into, for a coordinator that has two of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from shared.documents.place import place_of
from shared.report.sources import SKETCHED, FolderIdentity
from workers.reading import files

FEW = 8  # documents; with fewer, their sizes count as well: many a folder has a README.md


def of(folder: Path, uploads: Path | None = None) -> FolderIdentity | None:
    """The identity of the folder, and of uploads beside it, from a look; None where it cannot be listed."""
    try:
        place = place_of(folder)
        found = files.look(folder).files
    except OSError:
        return None
    names = [file.path if len(found) >= FEW else f"{file.path} {file.size}" for file in found]
    sketch = sorted(hashlib.sha256(name.encode()).hexdigest()[:12] for name in names)[:SKETCHED]
    return FolderIdentity(path=os.path.realpath(folder), place=place, sketch=sketch, uploads=_place_of(uploads))


def _place_of(uploads: Path | None) -> str | None:
    try:
        return place_of(uploads) if uploads else ""
    except OSError:  # it is not there yet
        return None
