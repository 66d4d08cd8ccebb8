"""The documents of two folders as those of one: those that somebody keeps, and those that people have uploaded."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from workers.reading import files
from workers.reading.documents.leftout import LeftOut
from workers.reading.files import Look

UPLOADS = "uploads/"  # begins the path of every uploaded document


def look(folder: Path, uploads: Path | None) -> Look:
    """Every document below both. Raises OSError if `folder` cannot be listed.

    Of uploads that cannot be listed that is told, and what was read of them is kept. A file below both is an upload,
    and so is the one that is searched where two have one path. Hidden files of uploads are the coordinator's own.
    """
    seen = files.look(folder)
    if uploads is None:
        return seen
    try:
        sent, root = files.look(uploads), os.path.realpath(uploads) + "/"
    except OSError as exc:
        why = f"cannot be listed ({exc.strerror or type(exc).__name__})"
        return Look(seen.files, [*seen.left_out, LeftOut(UPLOADS, why, 0, failed=True)], (*seen.unlisted, UPLOADS))
    there = {UPLOADS + file.path: replace(file, path=UPLOADS + file.path) for file in sent.files}
    left_out = [replace(one, what=UPLOADS + one.what) for one in sent.left_out if one.why != files.HIDDEN]
    for file in seen.files:
        if file.where.startswith(root):
            continue
        if file.path in there:
            left_out.append(LeftOut(file.path, "has the path of an uploaded document", failed=True))
        else:
            there[file.path] = file
    unlisted = (*seen.unlisted, *(UPLOADS + path for path in sent.unlisted))
    return Look(sorted(there.values(), key=lambda file: file.path), [*seen.left_out, *left_out], unlisted)
