"""PURE: which names an uploaded document may have: no path, nothing that cannot be seen, a type that is read."""

from __future__ import annotations

import re
import unicodedata

from shared.documents.types import kind
from shared.errors import Invalid
from shared.rendering import clean

MOST_BYTES = 200  # in UTF-8: file systems take 255, and what lies beside a document has its name and a mark
_SPACE = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")  # as in the names of macOS's screenshots
_DRIVE = re.compile(r"[A-Za-z]:")


def check_name(name: str) -> str:
    """The name as it is kept: in Unicode's form NFC, as macOS does not send it, and without white space around it.

    Raises `Invalid` with what is wrong with it.
    """
    kept = _SPACE.sub(" ", unicodedata.normalize("NFC", name)).strip(" ")
    if why := _find_fault(kept):
        shown = clean(name)[:100]
        raise Invalid(f"/name: {shown!r} {why}", [{"pointer": "/name", "detail": why}])
    return kept


def _find_fault(name: str) -> str:
    if not name:
        return "is empty."
    if "/" in name or "\\" in name or _DRIVE.match(name):
        return "is a path. Send the name of the file alone."
    if name.startswith("."):
        return "begins with a dot. Hidden files are not read."
    if clean(name, keep_lines=True) != name or "\t" in name or "\n" in name:
        return "has characters that cannot be seen, or that turn text around."
    if len(name.encode()) > MOST_BYTES:
        return f"is longer than {MOST_BYTES} bytes."
    if kind(name) is None:
        return "is of a type that no researcher reads. The types are on the page about search."
    return ""
