"""A PDF file as sections by its bookmarks, else by what is printed larger, else by pages."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from workers.language.text import normalize
from workers.reading.documents.document import CODE, Document, DocumentBlock, DocumentSection
from workers.reading.plain.paragraphs import join_lines
from workers.reading.printed import flow, running
from workers.reading.printed.page import PrintedLine, lines

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

MAX_PAGES = 2_000
FEW = 2  # bookmarks, or larger lines, that do not make sections
LARGER = 1.12  # times the height of most letters: a heading
MAX_HEADING = 120  # characters
MAX_TITLE = 150
NEAR = 60.0  # points from where a bookmark points to its heading

_LOCK = threading.Lock()  # PDFium is not for several threads at once
_DATE = re.compile(r"D:(\d{4})(\d{2})(\d{2})")
_NO_TITLE = re.compile(r"^(?:untitled|microsoft word.*|.*\.(?:docx?|dvi|tex|pdf|indd|rtf)|slide 1|\W*)$", re.IGNORECASE)


@dataclass(frozen=True)
class _Mark:
    """Where a section begins: page and line from zero."""

    level: int
    name: str
    page: int
    line: int
    lines: int = 0  # so many are its heading


def read(data: bytes) -> Document:
    """Title and date from the file's own data; `note` says what could not be read: broken, encrypted, scanned pages."""
    import pypdfium2

    with _LOCK:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as exc:
            return Document("", (), "is encrypted" if "password" in str(exc).lower() else "is a broken PDF")
        try:
            return _read_document(document)
        finally:
            document.close()


def _read_document(document: PdfDocument) -> Document:
    said = document.get_metadata_dict()
    pages: list[list[list[PrintedLine]]] = []
    pictures = broken = 0
    for at in range(min(len(document), MAX_PAGES)):
        found, drawn = _page(document, at)
        pages.append(found or [])
        broken += found is None
        pictures += found == [] and drawn
    total, pages = len(pages), [running.without_contents(page) for page in running.without(pages)]
    marks = _bookmarks(document, pages) or _larger(pages)
    title = " ".join(said.get("Title", "").split())
    title = _find_title(pages) if _NO_TITLE.match(title) else title
    dated = _DATE.match(said.get("ModDate") or said.get("CreationDate") or "")
    notes = [
        *([f"{pictures} of {total} pages have no text (scanned?)"] if pictures else []),
        *([f"{broken} of {total} pages are broken"] if broken else []),
        *([f"only the first {MAX_PAGES} of {len(document)} pages are read"] if len(document) > MAX_PAGES else []),
    ]
    sections = tuple(_sections(pages, marks))
    if not sections and not notes:
        notes = ["has no text in it"]
    return Document(title, sections, "; ".join(notes), "-".join(dated.groups()) if dated else "")


def _page(document: PdfDocument, at: int) -> tuple[list[list[PrintedLine]] | None, bool]:
    """The page's lines, None where it is broken, and whether anything is drawn on it."""
    import pypdfium2
    import pypdfium2.raw as pdfium

    try:
        page = document[at]
    except pypdfium2.PdfiumError:
        return None, False
    try:
        return lines(page), pdfium.FPDFPage_CountObjects(page.raw) > 0
    except pypdfium2.PdfiumError:
        return None, False
    finally:
        page.close()


def _bookmarks(document: PdfDocument, pages: Sequence[list[list[PrintedLine]]]) -> list[_Mark]:
    marks: list[_Mark] = []
    for bookmark in document.get_toc():
        name = " ".join(normalize(bookmark.get_title()).split())
        target = bookmark.get_dest()
        page = target.get_index() if target else None
        if not name or target is None or page is None or not 0 <= page < len(pages):
            continue
        _, place = target.get_view()
        height = place[1] if len(place) > 1 else place[0] if place else None
        line, used = _heading_line(pages[page], name, height)
        marks.append(_Mark(bookmark.level, name, page, line, used))
    ordered = sorted(marks, key=lambda mark: (mark.page, mark.line))
    return ordered if len(ordered) >= FEW else []


def _heading_line(page: Sequence[list[PrintedLine]], name: str, height: float | None) -> tuple[int, int]:
    """The line of a bookmark's heading, and how many lines it takes; 0 where only the place is known."""
    wanted = _letters(name)
    found: list[tuple[float, int, int]] = []
    for at, line in enumerate(page):
        said = ""
        for used, following in enumerate(page[at : at + 3], start=1):
            said += _letters(" ".join(piece.text for piece in following))
            if said == wanted or (wanted and said.endswith(wanted) and len(said) <= len(wanted) + 12):
                found.append((abs(line[0].top - height) if height else 0.0, at, used))
                break
            if len(said) > len(wanted) + 12:
                break
    if found:
        return min(found)[1:]
    if height is None:
        return 0, 0
    return next((at for at, line in enumerate(page) if line[0].bottom <= height), len(page)), 0


def _letters(text: str) -> str:
    return "".join(char for char in normalize(text).lower() if char.isalnum())


def _larger(pages: Sequence[list[list[PrintedLine]]]) -> list[_Mark]:
    """Headings by the height of their letters: the largest are the highest level."""
    sizes: Counter[float] = Counter()
    for line in (line for page in pages for line in page):
        sizes[round(line[0].size, 1)] += sum(len(piece.text) for piece in line)
    if not sizes:
        return []
    usual = sizes.most_common(1)[0][0]
    found: list[tuple[float, _Mark]] = []
    for number, page in enumerate(pages):
        taken = -1
        for at, line in enumerate(page):
            size = round(line[0].size, 1)
            if at <= taken or size < LARGER * usual or len(line) > 1:
                continue
            group = [line]
            while at + len(group) < len(page) and round(page[at + len(group)][0].size, 1) == size:
                group.append(page[at + len(group)])
            taken = at + len(group) - 1
            name = join_lines([each[0].text for each in group])
            if len(name) <= MAX_HEADING and any(char.isalpha() for char in name):
                found.append((size, _Mark(0, name, number, at, len(group))))
    if len(found) < FEW:
        return []
    levels = sorted({size for size, _ in found}, reverse=True)
    return [_Mark(levels.index(size), mark.name, mark.page, mark.line, mark.lines) for size, mark in found]


def _find_title(pages: Sequence[list[list[PrintedLine]]]) -> str:
    """The largest text of the first page that has text."""
    first = next((page for page in pages if page), [])
    if not first:
        return ""
    largest = max(round(line[0].size, 1) for line in first)
    title = join_lines([piece.text for line in first for piece in line if round(line[0].size, 1) == largest])
    return title if len(title) <= MAX_TITLE else join_lines([piece.text for piece in first[0]])[:MAX_TITLE]


def _sections(pages: Sequence[list[list[PrintedLine]]], marks: Sequence[_Mark]) -> Iterator[DocumentSection]:
    starts = [*marks, _Mark(0, "", len(pages), 0)]
    if not marks:
        for number, page in enumerate(pages, start=1):
            if found := list(_blocks(page, number)):
                yield DocumentSection((f"Page {number}",), f"page={number}", tuple(found))
        return
    if before := list(_between(pages, (0, 0), (starts[0].page, starts[0].line))):
        yield DocumentSection((), before[0].anchor, tuple(before))
    path: list[tuple[int, str]] = []
    for mark, following in pairwise(starts):
        path = [*((level, name) for level, name in path if level < mark.level), (mark.level, mark.name)]
        found = list(_between(pages, (mark.page, mark.line + mark.lines), (following.page, following.line)))
        if found:
            yield DocumentSection(tuple(name for _, name in path), f"page={mark.page + 1}", tuple(found))


def _between(
    pages: Sequence[list[list[PrintedLine]]], begin: tuple[int, int], end: tuple[int, int]
) -> Iterator[DocumentBlock]:
    """The blocks from one place to another; a paragraph that goes on over the end of a page is one."""
    last: DocumentBlock | None = None
    for number in range(begin[0], min(end[0] + 1, len(pages))):
        page = pages[number]
        part = page[begin[1] if number == begin[0] else 0 : end[1] if number == end[0] else len(page)]
        for at, block in enumerate(_blocks(part, number + 1)):
            if last is not None and at == 0 and _goes_on(last.text, block.text):
                code = last.text.startswith(CODE)
                last = DocumentBlock(
                    f"{last.text}\n{block.text}" if code else join_lines([last.text, block.text]), last.anchor
                )
                continue
            if last is not None:
                yield last
            last = block
    if last is not None:
        yield last


def _goes_on(text: str, after: str) -> bool:
    if text.startswith(CODE):
        return after.startswith(CODE)
    return " | " not in text and "\n" not in text and text[-1] not in ".!?:;。！？" and after[:1].islower()


def _blocks(page: Sequence[list[PrintedLine]], number: int) -> Iterator[DocumentBlock]:
    return (DocumentBlock(text, f"page={number}") for text in flow.blocks_of(page) if text)
