"""Short code, with the paragraph that announces it: `To add a column, use:` and then the command."""

from __future__ import annotations

import re

from workers.answering import prose

MAX_LINES, MAX_CHARACTERS = 6, 200  # of code that is quoted; more is a listing, which nobody reads in a report
NEW_LINE = " \u23ce "  # where a line of the code ended

_FENCE = re.compile(r"^\s*(?:```|~~~)")
_DRAWN = re.compile(r"[|+\\/<>=_*-]{3,}")  # a picture or a table
_COLONS = re.compile(r"(?<=:):$")  # reStructuredText's mark for code


def announced(passage: str) -> dict[str, str]:
    """The code that follows a paragraph ending in a colon, on one line, by that paragraph's plain text."""
    found: dict[str, str] = {}
    if ":\n" not in passage:
        return found
    before: list[str] = []
    for lines in prose.chunks(_unfenced(passage)):
        if before and before[-1].rstrip(" *_").endswith(":") and all(line.startswith(("    ", "\t")) for line in lines):
            said = NEW_LINE.join(" ".join(line.split()) for line in lines)
            short = len(lines) <= MAX_LINES and len(said) <= MAX_CHARACTERS
            if short and not any(_DRAWN.search(line) for line in lines):
                announcing = list(prose.blocks("\n".join(before)))[-1:]
                found |= dict.fromkeys(announcing, said)
        before = lines
    return found


def ended(block: str) -> str:
    """A paragraph that announces code, with one colon at its end."""
    return _COLONS.sub("", block)


def _unfenced(passage: str) -> str:
    """The passage with fenced code indented instead."""
    lines: list[str] = []
    inside = False
    for line in passage[: prose.MAX_CHARACTERS].splitlines():
        if _FENCE.match(line):
            inside = not inside
            lines.append("")
        else:
            lines.append(f"    {line}" if inside and line.strip() else line)
    return "\n".join(lines)
