"""A document as it grows in a reader's hands: headings, and blocks by the conventions of a passage's text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workers.reading.documents import definitions, tables
from workers.reading.documents.document import Document, DocumentBlock, DocumentSection, indent, slug

MAX_DEPTH = 8  # of lists in lists, as they are shown

_SPACE = re.compile(r"\s+")


class Outline:
    """Collects blocks under the heading that was last.

    Without a `title` the first heading is it, unless the document has names of its parts only (`untitled`).
    """

    def __init__(self, title: str = "", *, untitled: bool = False) -> None:
        self.title = tidy(title)
        self._untitled = untitled
        self.notes: list[str] = []
        self._sections: list[DocumentSection] = []
        self._path: list[tuple[int, str]] = []
        self._anchor = ""
        self._blocks: list[DocumentBlock] = []
        self._taken: dict[str, int] = {}

    def heading(self, level: int, text: str, *, anchor: str | None = None) -> None:
        """Begins a section; without an `anchor` of the document's own ("": it has none) it gets GitHub's."""
        if not (name := tidy(text)):
            return
        self._close()
        self._path = [(above, heading) for above, heading in self._path if above < level] + [(level, name)]
        self._anchor = slug(name, self._taken) if anchor is None else anchor
        if not self._untitled:
            self.title = self.title or name

    def say(self, text: str, *, anchor: str = "") -> None:
        """A paragraph."""
        self._add(tidy(text), anchor)

    def item(self, text: str, *, depth: int = 0, mark: str = "-") -> None:
        """An item of a list; `depth` counts the lists around it, `mark` is `-` or its number (`3.`)."""
        if said := tidy(text):
            self._add(f"{'  ' * min(depth, MAX_DEPTH)}{mark} {said}")

    def code(self, text: str) -> None:
        self._add(indent(text))

    def row(self, header: Sequence[str], cells: Sequence[str]) -> None:
        """A row of a table with the names of its columns, if it has them."""
        self._add(tables.row([tidy(name) for name in header], [tidy(cell) for cell in cells]))

    def table(self, rows: Sequence[Sequence[str]], *, headed: bool) -> None:
        """A whole table; the first row names the columns if it is `headed`."""
        if headed and len(rows) == 1:
            self.row((), rows[0])
        for cells in rows[1 if headed else 0 :]:
            self.row(rows[0] if headed else (), cells)

    def explained(self, terms: Sequence[str], text: str) -> None:
        """What a list of definitions names, and the first paragraph that explains it."""
        for block in definitions.explain([said for term in terms if (said := tidy(term))], tidy(text)):
            self._add(block)

    def take(self, document: Document, *, level: int) -> None:
        """Another document's sections below a heading of that level, and its note."""
        self._close()
        above = [(at, name) for at, name in self._path if at < level]
        for section in document.sections:
            path = [name for _, name in above] + [name for name in section.heading if not above or name != above[-1][1]]
            self._sections.append(DocumentSection(tuple(path), section.anchor or self._anchor, section.blocks))
        if document.note:
            self.notes.append(document.note)

    def document(self, *, modified: str = "") -> Document:
        self._close()
        return Document(self.title, tuple(self._sections), "; ".join(self.notes), modified)

    def _add(self, text: str, anchor: str = "") -> None:
        if text.strip():
            self._blocks.append(DocumentBlock(text, anchor))

    def _close(self) -> None:
        if self._blocks:
            path = tuple(name for _, name in self._path)
            self._sections.append(DocumentSection(path, self._anchor, tuple(self._blocks)))
        self._blocks = []


def tidy(text: str) -> str:
    """One line without more than one space in a row."""
    return _SPACE.sub(" ", text).strip()


def is_header(cells: Sequence[str]) -> bool:
    """Whether a table's first row may name its columns: two cells or more, all filled, short, different, no numbers."""
    filled = [cell.strip() for cell in cells]
    return (
        len(filled) > 1
        and all(0 < len(cell) <= tables.MAX_NAME for cell in filled)
        and len(set(filled)) == len(filled)
        and not any(cell[0].isdigit() or (cell[-1].isdigit() and cell[0] in "+-.,$€£") for cell in filled)
    )


def day(text: str) -> str:
    """The date (ISO) at the start of a date and time in ISO's form; "" where there is none."""
    return text[:10] if re.match(r"\d{4}-\d\d-\d\d", text) else ""
