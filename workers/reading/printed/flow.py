"""The lines of a page as paragraphs, code and tables, by the steps between them and by where they end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from statistics import median
from typing import Literal

from workers.reading.documents import tables
from workers.reading.documents.document import indent
from workers.reading.plain.paragraphs import blocks, is_item
from workers.reading.printed.page import PrintedLine

PrintedRow = list[PrintedLine]

LARGER_GAP = 1.35  # times the usual step from line to line: a new paragraph
MAX_STEP = 2.0  # heights of a letter, in one paragraph
SHORT = 0.85  # of the width of its column: a line that ends here and with a sentence ends the paragraph
INDENTED = 0.9  # heights of a letter: the first line of a paragraph
MAX_INDENT = 60  # columns

_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u2010\u00ad]$")
_ENDED = (".", "!", "?", ":", ";", "。", "！", "？", "：")


def blocks_of(page: Sequence[PrintedRow]) -> Iterator[str]:
    """The blocks of a page, or of a part of it, by the conventions of documents."""
    for kind, group in groupby(page, key=_kind):
        rows = list(group)
        if kind == "code":
            yield _code(rows)
        elif kind == "table":
            yield from _table(rows)
        else:
            yield from blocks(_text_lines(rows), drawn=False)


def _kind(row: PrintedRow) -> Literal["code", "table", "text"]:
    if all(piece.code for piece in row):
        return "code"
    return "table" if len(row) > 1 else "text"


def _code(rows: Sequence[PrintedRow]) -> str:
    letter = _letter(rows)
    left = min(row[0].left for row in rows)
    said = ("   ".join(piece.text for piece in row) for row in rows)
    return indent("\n".join(" " * _column(row, left, letter) + text for row, text in zip(rows, said, strict=True)))


def _table(rows: Sequence[PrintedRow]) -> Iterator[str]:
    """Rows of pieces; the first row names the columns where it is of words and others have figures."""
    cells = [[piece.text for piece in row] for row in rows]
    same = len(cells) > 2 and all(len(row) == len(cells[0]) for row in cells)
    figures = [any(char.isdigit() for text in row for char in text) for row in cells]
    header = cells[0] if same and not figures[0] and all(figures[1:]) else []
    for at, row in enumerate(cells):
        yield tables.row(header if at else [], row)


def _text_lines(rows: Sequence[PrintedRow]) -> Iterator[str]:
    """Lines of text, blank ones between paragraphs, further in as they are printed."""
    step, letter = _step(rows), _letter(rows)
    left, right = min(row[0].left for row in rows), max(row[0].right for row in rows)
    before: PrintedLine | None = None
    for (line,), after in zip(rows, [*rows[1:], None], strict=True):
        if before is not None and _parts(before, line, step, right):
            yield ""
        text = line.text
        if after is not None and _HYPHEN.search(text) and after[0].text[:1].islower():
            text = text[:-1] + "\u2010"  # joined with the next line, without a hyphen
        yield " " * _column([line], left, letter) + text
        before = line


def _letter(rows: Sequence[PrintedRow]) -> float:
    """The usual width of a letter, in points."""
    return max(1.0, median((piece.right - piece.left) / max(1, len(piece.text)) for row in rows for piece in row))


def _column(row: PrintedRow, left: float, letter: float) -> int:
    return min(MAX_INDENT, round((row[0].left - left) / letter))


def _step(rows: Sequence[PrintedRow]) -> float:
    downwards = [step for above, below in pairwise(rows) if (step := above[0].bottom - below[0].bottom) > 0]
    return median(downwards) if downwards else 0.0


def _parts(above: PrintedLine, below: PrintedLine, step: float, right: float) -> bool:
    """Whether a paragraph ends between two lines."""
    down = above.bottom - below.bottom
    usual = min(max(step, 1.1 * below.size), MAX_STEP * below.size)
    if down <= 0 or down > LARGER_GAP * usual:
        return True
    if abs(below.size - above.size) > 0.15 * below.size or is_item(below.text):
        return True
    further_in = below.left - above.left > INDENTED * below.size
    return above.text.endswith(_ENDED) and (further_in or above.right < SHORT * right)
