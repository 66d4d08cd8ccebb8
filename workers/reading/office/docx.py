"""Word documents (.docx, ECMA-376 part 1): headings by style, lists, tables, and notes at the foot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workers.reading.documents.document import Document
from workers.reading.formats.outline import Outline, day, is_header, tidy
from workers.reading.office.packed import ZippedFile

if TYPE_CHECKING:
    from lxml.etree import _Element

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
SKIPPED = frozenset((W + "del", W + "moveFrom", W + "instrText", W + "txbxContent", W + "pPr", W + "rPr"))
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # the same text a second time
CODE_STYLES = ("code", "preformatted", "listing", "verbatim")
MAX_LEVEL = 9

_DEEPER = re.compile(r"list (?:bullet|number) [2-9]$")  # Word's own styles of lists in lists


def read(data: bytes) -> Document:
    """Raises Unreadable for a file that is damaged or encrypted."""
    packed = ZippedFile(data)
    core = packed.xml_if_there("docProps/core.xml")
    title = "" if core is None else core.findtext("{http://purl.org/dc/elements/1.1/}title") or ""
    changed = "" if core is None else core.findtext("{http://purl.org/dc/terms/}modified") or ""
    walk = _Walk(
        Outline(title),
        _styles(packed.xml_if_there("word/styles.xml")),
        _lists(packed.xml_if_there("word/numbering.xml")),
    )
    body = packed.xml("word/document.xml").find(W + "body")
    if body is not None:
        walk.blocks(body)
    walk.flush()
    for part, name in (("footnotes", "Footnotes"), ("endnotes", "Endnotes")):
        notes = packed.xml_if_there(f"word/{part}.xml")
        if notes is not None and any(_text(paragraph).strip() for paragraph in notes.iter(W + "p")):
            walk.outline.heading(1, name, anchor="")
            walk.blocks(notes)
    return walk.outline.document(modified=day(changed))


@dataclass(frozen=True)
class _Style:
    """`level` of a heading (None: it is none), and the list that paragraphs of this style belong to."""

    name: str = ""
    level: int | None = None
    list_id: str = ""


@dataclass
class _Walk:
    outline: Outline
    styles: dict[str, _Style]
    lists: dict[tuple[str, int], bool]
    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)  # of code, which has a paragraph for each

    def blocks(self, parent: _Element) -> None:
        """The paragraphs and tables below an element, in boxes as well."""
        for element in _children(parent):
            if element.tag == W + "p":
                self.paragraph(element)
            elif element.tag == W + "tbl":
                self.flush()
                self.table(element)
            elif element.tag not in SKIPPED:
                self.blocks(element)

    def paragraph(self, element: _Element) -> None:
        own = element.find(W + "pPr")
        style = self.styles.get(_value(own, "pStyle"), _Style())
        said = _text(element)
        if any(name in style.name for name in CODE_STYLES):
            self.lines.append(said)
            return
        self.flush()
        level = int(own_level) if (own_level := _value(own, "outlineLvl")).isdigit() else style.level
        number = own.find(f"{W}numPr") if own is not None else None
        list_id = _value(number, "numId") or style.list_id
        depth = int(_value(number, "ilvl") or 0) or (int(style.name[-1]) - 1 if _DEEPER.match(style.name) else 0)
        if level is not None and level < MAX_LEVEL and tidy(said):
            self.outline.heading(level + 1, said, anchor="")
        elif style.name == "title" and tidy(said):
            self.outline.title = self.outline.title or tidy(said)
        elif list_id and list_id != "0" and tidy(said):
            self.outline.item(said, depth=depth, mark=self._mark(list_id, int(_value(number, "ilvl") or 0)))
        else:
            self.outline.say(said)
        for box in element.iter(W + "txbxContent"):
            if not any(above.tag == FALLBACK for above in box.iterancestors()):
                self.blocks(box)

    def flush(self) -> None:
        if self.lines:
            self.outline.code("\n".join(self.lines))
        self.lines = []

    def table(self, element: _Element) -> None:
        rows = [
            [tidy(" ".join(_text(each) for each in cell.iter(W + "p"))) for cell in _below(row, "tc")]
            for row in _below(element, "tr")
        ]
        if len(rows) > 0 and max(map(len, rows)) == 1:  # a frame around text
            for cell in element.iter(W + "tc"):
                self.blocks(cell)
                self.flush()
            return
        self.outline.table(rows, headed=bool(rows) and is_header(rows[0]))

    def _mark(self, list_id: str, depth: int) -> str:
        self.counts[list_id, depth] += 1
        for key in [key for key in self.counts if key[0] == list_id and key[1] > depth]:
            del self.counts[key]
        return f"{self.counts[list_id, depth]}." if self.lists.get((list_id, depth)) else "-"


def _children(parent: _Element) -> Iterator[_Element]:
    return (each for each in parent if isinstance(each.tag, str) and each.tag != FALLBACK)


def _below(parent: _Element, tag: str) -> Iterator[_Element]:
    """Children of that kind, also in the wrappers of content controls and tracked changes, not in tables in tables."""
    for child in _children(parent):
        if child.tag == W + tag:
            yield child
        elif child.tag not in SKIPPED and child.tag not in (W + "tbl", W + "tc", W + "tr"):
            yield from _below(child, tag)


def _text(paragraph: _Element) -> str:
    said: list[str] = []
    for child in _children(paragraph):
        if child.tag == W + "t":
            said.append(child.text or "")
        elif child.tag in (W + "tab", W + "br", W + "cr"):
            said.append("\t" if child.tag == W + "tab" else "\n")
        elif child.tag == W + "noBreakHyphen":
            said.append("-")
        elif child.tag not in SKIPPED:
            said.append(_text(child))
    return "".join(said)


def _value(parent: _Element | None, tag: str) -> str:
    found = parent.find(W + tag) if parent is not None else None
    return (found.get(W + "val") or "") if found is not None else ""


def _styles(root: _Element | None) -> dict[str, _Style]:
    """Each style by its id, with what it takes from the style that it is based on."""
    elements = {} if root is None else {each.get(W + "styleId") or "": each for each in root.iter(W + "style")}
    found: dict[str, _Style] = {}
    for style_id, element in elements.items():
        name, level, list_id = _value(element, "name").lower(), "", ""
        at: _Element | None = element
        for _ in range(10):  # a ring is not followed for ever
            if at is None:
                break
            own = at.find(W + "pPr")
            level = level or _value(own, "outlineLvl")
            list_id = list_id or _value(own.find(f"{W}numPr") if own is not None else None, "numId")
            at = elements.get(_value(at, "basedOn"))
        if not level and name.startswith("heading ") and name[8:].isdigit():
            level = str(int(name[8:]) - 1)
        found[style_id] = _Style(name, int(level) if level.isdigit() and int(level) < MAX_LEVEL else None, list_id)
    return found


def _lists(root: _Element | None) -> dict[tuple[str, int], bool]:
    """Whether a list's items are numbered, by its id and their depth."""
    if root is None:
        return {}
    formats = {
        (abstract.get(W + "abstractNumId"), int(level.get(W + "ilvl") or 0)): _value(level, "numFmt")
        for abstract in root.iter(W + "abstractNum")
        for level in abstract.iter(W + "lvl")
    }
    return {
        (number.get(W + "numId") or "", depth): shape not in ("bullet", "none", "")
        for number in root.iter(W + "num")
        for (abstract, depth), shape in formats.items()
        if abstract == _value(number, "abstractNumId")
    }
