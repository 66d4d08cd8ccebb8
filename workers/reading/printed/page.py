"""One page of a PDF as lines in reading order, found from the positions of its characters."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

APART = 1.0  # heights of a letter between two pieces of a line: so far apart, they are two cells or two columns
SPACE = 0.15  # the same: a space between two words
GUTTER = 0.8  # the same: white between two columns of text
COLUMN_LETTERS = 18  # of a line on average: columns are text, and what is shorter are cells of a table
COLUMN_LINES = 4
MAX_CHARACTERS = 200_000  # of one page: more is a drawing

_HYPHENS = dict.fromkeys((0x02, 0xAD, 0xFFFE), "\u2010")  # PDFium's marks of a word that goes on in the next line
_MONOSPACE = ("courier", "mono", "consol", "typewriter", "cmtt", "fixed", "menlo", "sftt", "lettergothic")
_MARK = re.compile(  # of an item or a heading; its text follows
    r"[•‣▪–—*o-]|\(?\w{1,3}[.)]|[\dA-Z]{1,2}(?:\.\d{1,3})*\.?"
)
_BULLETS = str.maketrans("\uf0b7\uf0a7\uf076\uf0d8\uf02d\u25cf\u25aa\u25a0\u25e6\u2043\u2219", "\u2022" * 11)


@dataclass(frozen=True)
class PrintedLine:
    """A piece of a line, or the whole of it: text, its box in points from the lower left, and the letters' height."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    size: float
    code: bool = False


def lines(page: PdfPage) -> list[list[PrintedLine]]:
    """The page's lines in reading order, each of one piece or, where wide gaps part it, of several."""
    pieces = list(_pieces(page))
    if not pieces:
        return []
    height = median(piece.size for piece in pieces)
    return [line for region in _regions(pieces, height, depth=0) for line in _rows(region)]


def _pieces(page: PdfPage) -> Iterator[PrintedLine]:
    """Runs of adjacent characters, as PDFium gives them."""
    import pypdfium2.raw as pdfium

    turned, (width, height) = page.get_rotation(), page.get_size()
    if turned in (90, 270):
        width, height = height, width
    text = page.get_textpage()
    try:
        box = pdfium.FS_RECTF()
        said: list[str] = []
        run: PrintedLine | None = None
        end = 0.0  # where the run ends so far
        for at in range(min(text.count_chars(), MAX_CHARACTERS)):
            code = pdfium.FPDFText_GetUnicode(text.raw, at)
            char = _HYPHENS.get(code) or chr(code)
            if char.isspace():
                if code in (10, 13) and run is not None:
                    yield _whole(run, end, said)
                    run = None
                said.append(" ")
                continue
            pdfium.FPDFText_GetLooseCharBox(text.raw, at, box)
            left, right, bottom, top = _upright(box, turned, width, height)
            if right <= left:
                continue
            if run is not None and _goes_on(run, end, left, bottom, top - bottom):
                end = max(end, right)
                said.append(char)
                continue
            if run is not None:
                yield _whole(run, end, said)
            run, end, said = (
                PrintedLine("", left, right, bottom, top, top - bottom, _is_monospace(text.raw, at)),
                right,
                [char],
            )
        if run is not None:
            yield _whole(run, end, said)
    finally:
        text.close()


def _whole(run: PrintedLine, end: float, said: list[str]) -> PrintedLine:
    return replace(run, text="".join(said).strip().translate(_BULLETS), right=end)


def _goes_on(run: PrintedLine, end: float, left: float, bottom: float, size: float) -> bool:
    level = abs(bottom - run.bottom) < 0.5 * max(size, run.size)
    return level and -0.5 * run.size < left - end < APART * run.size


def _upright(box: ctypes.Structure, turned: int, width: float, height: float) -> tuple[float, float, float, float]:
    left, right, bottom, top = box.left, box.right, box.bottom, box.top
    if turned == 90:
        return bottom, top, width - right, width - left
    if turned == 180:
        return width - right, width - left, height - top, height - bottom
    if turned == 270:
        return height - top, height - bottom, left, right
    return left, right, bottom, top


def _is_monospace(text: object, at: int) -> bool:
    import pypdfium2.raw as pdfium

    name = ctypes.create_string_buffer(128)
    flags = ctypes.c_int()
    pdfium.FPDFText_GetFontInfo(text, at, name, 128, flags)
    spoken = name.value.decode("latin-1").lower()
    return any(part in spoken for part in _MONOSPACE)


def _regions(pieces: Sequence[PrintedLine], height: float, *, depth: int) -> Iterator[Sequence[PrintedLine]]:
    """The page cut into columns and the parts above and below them, in reading order."""
    if depth < 6 and len(pieces) >= 2 * COLUMN_LINES:
        if columns := _columns(pieces, height):
            for column in columns:
                yield from _regions(column, height, depth=depth + 1)
            return
        if parts := _above_and_below(pieces, height):
            for part in parts:
                yield from _regions(part, height, depth=depth + 1)
            return
    yield pieces


def _columns(
    pieces: Sequence[PrintedLine], height: float
) -> tuple[Sequence[PrintedLine], Sequence[PrintedLine]] | None:
    """Two columns of text, if white from top to bottom parts them."""
    for left, right in _gaps([(piece.left, piece.right) for piece in pieces], GUTTER * height):
        cut = (left + right) / 2
        sides = [piece for piece in pieces if piece.right <= cut], [piece for piece in pieces if piece.left >= cut]
        if all(_is_text(side) for side in sides):
            return sides
    return None


def _is_text(side: Sequence[PrintedLine]) -> bool:
    rows = list(_rows(side))
    letters = sum(len(piece.text) for piece in side)
    return len(rows) >= COLUMN_LINES and letters >= COLUMN_LETTERS * len(rows)


def _above_and_below(
    pieces: Sequence[PrintedLine], height: float
) -> tuple[Sequence[PrintedLine], Sequence[PrintedLine]] | None:
    """The page cut at white from side to side, where one part then has columns that the whole has not."""
    for low, high in _gaps([(piece.bottom, piece.top) for piece in pieces], 0.2 * height):
        cut = (low + high) / 2
        above = [piece for piece in pieces if piece.bottom >= cut]
        below = [piece for piece in pieces if piece.top <= cut]
        if _columns(above, height) or _columns(below, height):
            return above, below
    return None


def _gaps(spans: list[tuple[float, float]], least: float) -> list[tuple[float, float]]:
    """White between spans, the widest first."""
    found: list[tuple[float, float]] = []
    end = None
    for begin, until in sorted(spans):
        if end is not None and begin - end >= least:
            found.append((end, begin))
        end = until if end is None else max(end, until)
    return sorted(found, key=lambda gap: gap[0] - gap[1])[:12]


def _rows(pieces: Sequence[PrintedLine]) -> Iterator[list[PrintedLine]]:
    """Pieces that are side by side as one line, from top to bottom; near ones are joined."""
    row: list[PrintedLine] = []
    for piece in sorted(pieces, key=lambda each: -(each.top + each.bottom)):
        middle = (piece.top + piece.bottom) / 2
        if row and not min(each.bottom for each in row[:1]) <= middle <= max(each.top for each in row[:1]):
            yield _join_pieces(row)
            row = []
        row.append(piece)
    if row:
        yield _join_pieces(row)


def _join_pieces(row: list[PrintedLine]) -> list[PrintedLine]:
    joined: list[PrintedLine] = []
    for piece in sorted(row, key=lambda each: each.left):
        last = joined[-1] if joined else None
        marked = last is not None and len(joined) == 1 and _MARK.fullmatch(last.text) is not None
        if last is None or not (marked or piece.left - last.right < APART * max(last.size, piece.size)):
            joined.append(piece)
            continue
        between = " " if piece.left - last.right > SPACE * last.size else ""
        text, code = last.text + between + piece.text, last.code and piece.code
        joined[-1] = replace(last, text=text, right=max(last.right, piece.right), code=code)
    return joined
