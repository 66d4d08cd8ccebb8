"""OpenDocument texts and sheets (.odt, .ods; OASIS OpenDocument 1.3): headings, lists and tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.reading.documents.document import Document
from workers.reading.formats.outline import Outline, day, is_header, tidy
from workers.reading.office.packed import ZippedFile

if TYPE_CHECKING:
    from lxml.etree import _Element

NAMES = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
TEXT, TABLE, OFFICE, STYLE = (NAMES % name for name in ("text", "table", "office", "style"))
SKIPPED = frozenset(
    (TEXT + "tracked-changes", OFFICE + "annotation", TEXT + "note-citation", TEXT + "sequence-decls", OFFICE + "forms")
)
INDEXES = frozenset(TEXT + name for name in ("table-of-content", "alphabetical-index", "illustration-index"))
MAX_ROWS = 20_000
MAX_REPEATED = 100  # columns or spaces; a sheet's empty rest is one cell that is repeated to its end
CODE_STYLES = ("preformatted", "code", "listing")


def read(data: bytes) -> Document:
    """Raises Unreadable for a file that is damaged or encrypted."""
    packed = ZippedFile(data)
    meta = packed.xml_if_there("meta.xml")
    title = "" if meta is None else meta.findtext(".//{http://purl.org/dc/elements/1.1/}title") or ""
    changed = "" if meta is None else meta.findtext(".//{http://purl.org/dc/elements/1.1/}date") or ""
    content = packed.xml("content.xml")
    outline = Outline(title, untitled=content.find(f".//{OFFICE}spreadsheet") is not None)
    walk = _Walk(outline, _numbered_styles(content), _parents(content))
    for body in content.iter(OFFICE + "text", OFFICE + "spreadsheet", OFFICE + "presentation"):
        walk.blocks(body)
    walk.flush()
    return walk.outline.document(modified=day(changed))


@dataclass
class _Walk:
    outline: Outline
    numbered: frozenset[tuple[str, int]]  # styles of lists, and depths, whose items have numbers
    parents: dict[str, str]  # styles of paragraphs, and what they are made from
    lines: str = ""
    rows: int = 0

    def blocks(self, parent: _Element) -> None:
        for element in _children(parent):
            tag = element.tag
            if tag == TEXT + "p" and self._is_code(element):
                self.lines += _text(element) + "\n"
                continue
            self.flush()
            if tag == TEXT + "h":
                level = element.get(TEXT + "outline-level") or "1"
                self.outline.heading(int(level) if level.isdigit() else 1, _text(element), anchor="")
            elif tag == TEXT + "p" and element.get(TEXT + "style-name") == "Title":
                self.outline.title = self.outline.title or tidy(_text(element))
            elif tag == TEXT + "p":
                self.outline.say(_text(element))
                for note in element.iter(TEXT + "note-body"):
                    self.blocks(note)
            elif tag == TEXT + "list":
                self.list(element, element.get(TEXT + "style-name") or "", 0)
            elif tag == TABLE + "table":
                self.table(element)
            elif tag not in SKIPPED and tag not in INDEXES:
                self.blocks(element)

    def flush(self) -> None:
        self.outline.code(self.lines)
        self.lines = ""

    def list(self, element: _Element, style: str, depth: int) -> None:
        number = 0
        for item in _children(element):
            said = False
            for child in _children(item):
                if child.tag == TEXT + "list":
                    self.list(child, child.get(TEXT + "style-name") or style, depth + 1)
                elif child.tag == TEXT + "h":  # numbered headings stand in a list
                    self.blocks(item)
                    break
                elif said:
                    self.outline.say(_text(child))
                else:
                    said, number = True, number + 1
                    mark = f"{number}." if (style, depth) in self.numbered else "-"
                    self.outline.item(_text(child), depth=depth, mark=mark)

    def table(self, element: _Element) -> None:
        name = element.get(TABLE + "name") or ""
        above = element.getparent()
        if above is not None and above.tag == OFFICE + "spreadsheet":
            self.outline.heading(1, name, anchor="")
        rows = []
        for row in element.iter(TABLE + "table-row"):
            cells = [text for cell in _children(row) for text in _cells(cell)]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                rows.append(cells)
            self.rows += 1
            if self.rows > MAX_ROWS:
                self.outline.notes.append(f"has more than {MAX_ROWS:,} rows; the rest is not read")
                break
        if rows and is_header(rows[0]):
            rows = [[*cells, *[""] * (len(rows[0]) - len(cells))] for cells in rows]
        self.outline.table(rows, headed=bool(rows) and is_header(rows[0]))

    def _is_code(self, element: _Element) -> bool:
        style = element.get(TEXT + "style-name") or ""
        named = f"{style} {self.parents.get(style, '')}".lower()
        return any(name in named for name in CODE_STYLES)


def _children(parent: _Element) -> Iterator[_Element]:
    return (each for each in parent if isinstance(each.tag, str))


def _cells(cell: _Element) -> list[str]:
    text = tidy(" ".join(_text(each) for each in cell.iter(TEXT + "p")))
    repeated = cell.get(TABLE + "number-columns-repeated") or "1"
    return [text] * min(int(repeated) if repeated.isdigit() else 1, MAX_REPEATED)


def _text(element: _Element) -> str:
    """The text of a paragraph, without notes."""
    said = [element.text or ""]
    for child in element:
        if child.tag == TEXT + "s":
            count = child.get(TEXT + "c") or "1"
            said.append(" " * min(int(count) if count.isdigit() else 1, MAX_REPEATED))
        elif child.tag in (TEXT + "tab", TEXT + "line-break"):
            said.append("\t" if child.tag == TEXT + "tab" else "\n")
        elif isinstance(child.tag, str) and child.tag not in SKIPPED and child.tag != TEXT + "note":
            said.append(_text(child))
        said.append(child.tail or "")
    return "".join(said)


def _numbered_styles(content: _Element) -> frozenset[tuple[str, int]]:
    return frozenset(
        (style.get(STYLE + "name") or "", int(level.get(TEXT + "level") or 1) - 1)
        for style in content.iter(TEXT + "list-style")
        for level in style.iter(TEXT + "list-level-style-number")
    )


def _parents(content: _Element) -> dict[str, str]:
    return {
        style.get(STYLE + "name") or "": style.get(STYLE + "parent-style-name") or ""
        for style in content.iter(STYLE + "style")
    }
