"""One pass over a tree of HTML: its text as sections of blocks, by the conventions of documents."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workers.reading.documents import definitions
from workers.reading.documents.document import DocumentBlock, DocumentSection, indent
from workers.reading.hypertext import table
from workers.reading.hypertext.line import (
    BLOCKS,
    INLINE,
    BlockText,
    ElementParts,
    InlineText,
    are_numbers,
    code_of,
    is_sentence,
    read_text,
)

if TYPE_CHECKING:
    from lxml.html import HtmlElement

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
EDGES = frozenset(("nav", "footer", "header"))
EDGE_ROLES = frozenset(("navigation", "search", "banner", "contentinfo"))
LISTS = ("ul", "ol", "menu", "dir")
NOTES = frozenset(("note", "tip", "hint", "info", "important", "warning", "caution", "danger", "attention"))
LINKS_ONLY = 0.75  # a block with a larger share of its letters in links belongs to a menu
EDGE_LINKS = 0.3  # the same at a page's edges: menus, headers, footers
EDGE_WORDS = 5  # what is shorter there is no text
BOLD_WORDS = 12  # of a paragraph in bold that is a heading
BOLD_LEVEL = 7  # below all others
MAX_HEADING = 200  # characters; what is longer is a paragraph
MAX_DEPTH = 4  # of lists that are drawn further in

_NUMBERED = re.compile(r"index-\d+$|id\d+$")  # Sphinx counts them anew on every change of the page
_MADE_BY = re.compile(
    r"(?:©|\(c\) |copyright\b.{0,4}(?:©|\d{4})|all rights reserved|(?:built|made|created|generated) (?:with|using|by) |"
    r"powered by )",
    re.IGNORECASE,
)


@dataclass
class _Piece:
    text: str
    anchor: str
    linked: bool = False


@dataclass
class _Item:
    mark: str  # "" once it is said
    indent: str
    piece: _Piece | None = None


@dataclass
class Walk:
    """What was found: sections, the names of the `h1`, the words of all; and the state of the pass.

    `judged`: the page's edges and lists of links are left out. `links`: not the lists of links.
    """

    judged: bool = False
    links: bool = True
    sections: list[DocumentSection] = field(default_factory=list)
    tops: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)  # as it stood in each `pre`
    words: int = 0
    _line: InlineText = field(default_factory=InlineText)
    _path: list[tuple[int, str]] = field(default_factory=list)
    _pieces: list[_Piece] = field(default_factory=list)
    _terms: list[str] = field(default_factory=list)  # of a list of definitions, not explained yet
    _terms_in: int = 0  # how many lists are around them
    _label: str = ""  # the title of a note, to stand before its text
    _note: HtmlElement | None = None  # the element that the title is in
    _lists: list[int | None] = field(default_factory=list)  # the number of the next item
    _items: list[_Item] = field(default_factory=list)
    _anchor: str = ""
    _next_anchor: str = ""
    _block_anchor: str = ""
    _edges: int = 0
    _asides: int = 0

    def over(self, root: HtmlElement) -> Walk:
        """Goes over the tree below `root`."""
        parts = ElementParts(root)
        for event, part in parts:
            if event == "tail":
                self._line.say(part.tail)
            elif event == "end":
                self._end(part)
            elif self._is_whole(part):
                parts.skip(part)
            else:
                self._start(part)
        self._finish()
        return self

    def _is_whole(self, part: HtmlElement) -> bool:
        """Takes an element that is read as a whole: a heading, code, a table with columns."""
        tag = part.tag
        if tag in HEADINGS:
            self._flush()
            self._head(int(tag[1]), read_text(part), part)
        elif tag == "pre":
            self._flush()
            self.code.append(code_of(part))
            self._code(self.code[-1], self._anchor_of(part))
        elif tag == "table" and not table.is_layout(part):
            self._flush()
            self._unexplained()
            for caption in part.iterchildren("caption"):
                self._add_all(read_text(caption))
            for anchor, text in table.blocks(part, links=self.links):
                self._block_anchor = anchor or self._block_anchor
                self._add(text)
        else:
            return False
        return True

    def _start(self, part: HtmlElement) -> None:
        tag = part.tag
        if tag in BLOCKS:
            self._flush()
        if tag == "dl":
            self._unexplained()
        if self._is_edge(part):
            self._edges += 1
        if tag == "aside":
            self._asides += 1
        if tag in LISTS:
            number = part.get("start", "1")
            self._lists.append((int(number) if number.isdecimal() else 1) if tag == "ol" else None)
        elif tag == "li":
            self._items.append(self._item(part))
        if anchor := self._anchor_of(part):
            if tag in ("section", "div") or (tag in ("span", "a") and not self._next_anchor):
                self._next_anchor = anchor
            if tag in ("dt", "section", "div", "p", "li") and not (self._terms and tag in ("dt", "p")):
                self._block_anchor = anchor
        if tag not in BLOCKS and tag not in INLINE and (title := part.get("title") or part.get("label")):
            self._flush()
            self._label, self._note = title, part  # of a component: <Accordion title="How do I stop it?">
        self._line.start(part)

    def _end(self, part: HtmlElement) -> None:
        tag = part.tag
        if tag in BLOCKS:
            self._flush(tag, part)
        if self._is_edge(part):
            self._edges -= 1
        if tag == "aside":
            self._asides -= 1
        if part is self._note:
            self._flush()
            self._label, self._note = "", None
        if tag in LISTS and self._lists:
            self._lists.pop()
        elif tag == "li" and self._items:
            self._items.pop()
        elif tag == "dl":
            self._unexplained()
        self._line.end(part)

    def _is_edge(self, part: HtmlElement) -> bool:
        if not self.judged:
            return False
        if part.tag == "header":
            return part.find(".//h1") is None
        return part.tag in EDGES or part.get("role") in EDGE_ROLES or "hidden" in part.attrib

    def _item(self, part: HtmlElement) -> _Item:
        indent = "  " * min(len(self._items), MAX_DEPTH)
        number = self._lists[-1] if self._lists else None
        if number is None:
            return _Item("- ", indent)
        own = part.get("value", "")
        number = int(own) if own.isdecimal() else number
        self._lists[-1] = number + 1
        return _Item(f"{number}. ", indent)

    def _anchor_of(self, part: HtmlElement) -> str:
        anchor = part.get("id") or (part.get("name") if part.tag == "a" else None) or ""
        return "" if _NUMBERED.match(anchor) else anchor

    def _anchor_in(self, part: HtmlElement) -> str:
        return next((anchor for each in part.iterdescendants() if (anchor := self._anchor_of(each))), "")

    def _head(self, level: int, head: BlockText, part: HtmlElement) -> None:
        name = " ".join(head.paragraphs).replace("\n", " ").strip(" ¶#")
        if not name or (self._edges and head.linked > EDGE_LINKS):
            return
        if self._edges or self._asides or name.casefold() in NOTES:
            self._label, self._note = name, part.getparent()
            return
        if len(name) > MAX_HEADING:
            self._add(name)
            return
        self._finish()
        if level == 1:
            self.tops.append(name)
        self._path = [*((above, heading) for above, heading in self._path if above < level), (level, name)]
        self._anchor = self._anchor_of(part) or self._anchor_in(part) or self._next_anchor
        self._next_anchor = self._block_anchor = ""

    def _code(self, code: str, anchor: str) -> None:
        self._block_anchor = anchor or self._block_anchor
        text = indent(code)
        if not text or are_numbers(text.split()):
            return
        self._unexplained()
        item = self._items[-1] if self._items else None
        if item is not None and item.mark and "\n" not in text:
            self._add_item(item, text.strip())
        else:
            self._add(text)

    def _flush(self, tag: str = "", part: HtmlElement | None = None) -> None:
        """Ends a block: what was said since the last one."""
        taken = self._line.take()
        if not taken.paragraphs:
            return
        text = taken.paragraphs[0]
        linked = self.judged and taken.linked > LINKS_ONLY and not is_sentence(text)
        if self._edges and (taken.linked > EDGE_LINKS or len(text.split()) < EDGE_WORDS):
            return
        if self.judged and _MADE_BY.match(text):
            return
        if tag == "dt":
            self._terms += taken.paragraphs
            self._terms_in = len(self._items)
        elif text.rstrip(":").casefold() in NOTES or (part is not None and "admonition-title" in part.get("class", "")):
            self._label, self._note = text.rstrip(":"), None if part is None else part.getparent()
        elif part is not None and tag in ("p", "div") and taken.bold and self._is_bold_heading(text):
            self._head(BOLD_LEVEL, taken, part)
        else:
            self._add_all(taken, linked=linked)

    def _is_bold_heading(self, text: str) -> bool:
        plain = not (self._items or self._terms or self._label or self._edges)
        return plain and len(text.split()) <= BOLD_WORDS and text[-1] not in ".:;,!" and "\n" not in text

    def _add_all(self, taken: BlockText, *, linked: bool = False) -> None:
        if len(self._items) > self._terms_in:
            self._unexplained()  # a list explains them
        for text in taken.paragraphs:
            if self._terms:
                terms, self._terms, linked = self._terms, [], False
                *whole, text = definitions.explain(terms, text)
                for term in whole:
                    self._add(term)
            item = self._items[-1] if self._items else None
            if item is not None:
                self._add_item(item, text, linked=linked)
            else:
                self._add(text, linked=linked)

    def _add_item(self, item: _Item, text: str, *, linked: bool = False) -> None:
        inside = "\n" + item.indent + "  "
        said = text.replace("\n", inside)
        if item.mark:
            item.piece = self._add(f"{item.indent}{item.mark}{self._labelled(said)}", linked=linked)
            item.mark = ""
        elif item.piece is not None and self._pieces and item.piece is self._pieces[-1]:
            item.piece.text += inside + self._labelled(said)
            item.piece.linked = item.piece.linked and linked
        else:
            self._add("  " + self._labelled(text).replace("\n", "\n  "), linked=linked)

    def _labelled(self, text: str) -> str:
        label, self._label = self._label, ""
        if not label:
            return text
        return f"{label}\n{text}" if label.endswith("?") else f"{label}: {text}"

    def _add(self, text: str, *, linked: bool = False) -> _Piece:
        if self._label and not linked:
            text = self._labelled(text) if text[0] != " " else f"{self._labelled('')}\n{text}"
        piece = _Piece(text, self._block_anchor, linked)
        self._pieces.append(piece)
        self._block_anchor = self._next_anchor = ""
        return piece

    def _unexplained(self) -> None:
        """Terms that no paragraph follows are blocks like others."""
        terms, self._terms = self._terms, []
        for term in terms:
            self._add(term)

    def _finish(self) -> None:
        """Ends the section. A list of links stays where a sentence announces it."""
        self._flush()
        self._unexplained()
        kept: list[DocumentBlock] = []
        announced = False
        for piece in self._pieces:
            if piece.linked and not (self.links or announced):
                continue
            announced = announced if piece.linked else piece.text.endswith((":", "："))
            kept.append(DocumentBlock(piece.text, piece.anchor))
            self.words += len(piece.text.split())
        if kept:
            self.sections.append(DocumentSection(tuple(name for _, name in self._path), self._anchor, tuple(kept)))
        elif self._pieces and self._path:
            self._path.pop()  # a heading over a menu only
        self._pieces = []
