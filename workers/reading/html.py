"""An HTML page of documentation as sections by its headings, without navigation and other furniture."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workers.reading import definitions, tables
from workers.reading.document import Block, Document, Section, indented

if TYPE_CHECKING:
    from lxml.html import HtmlElement

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
FURNITURE = (
    *("script", "style", "noscript", "template", "nav", "aside", "footer", "form", "button", "select"),
    *("iframe", "svg", "canvas", "object", "head", "link", "meta"),
)
_CLASSES = (
    "headerlink permalink anchor-link toctree-wrapper contents toc localtoc table-of-contents breadcrumb breadcrumbs"
    " sphinxsidebar related footer copybtn viewcode-link edit-this-page visually-hidden sr-only skip-link pagination"
    " prev-next-area navigation navheader navfooter tooltip-content"
)
FURNITURE_CLASSES = frozenset(_CLASSES.split())
_BLOCKS = (
    "address article blockquote body caption center dd details div dl dt fieldset figcaption figure header hgroup hr"
    " html legend li main ol p pre section summary table tbody td tfoot th thead tr ul"
)
BLOCKS = frozenset(_BLOCKS.split())
KEPT_ASIDE = "sidebar"  # Sphinx's sidebar is a box of the author's, not navigation
LINKS_ONLY = 0.75  # a block with a larger share of its letters in links is a list of links

_SITE = re.compile(r"\s+(?:[—–|·]|::|-)\s+[^—–|·]*(?:documentation|docs|manual|wiki|v\d[\w.]*)[^—–|·]*$", re.IGNORECASE)
_NUMBERED = re.compile(r"index-\d+$|id\d+$")  # Sphinx counts them anew on every change of the page
_GLOSSARY = re.compile("glossary", re.IGNORECASE)
_TERM_LEVEL = 7  # of a glossary's terms, below all headings
_SPACE = re.compile(r"\s+")


def read(data: bytes, encoding: str) -> Document:
    """The page's title, and a section for each heading with the nearest anchor."""
    from lxml import etree, html

    parser = html.HTMLParser(encoding=encoding, remove_comments=True, remove_pis=True)
    try:
        page = html.document_fromstring(data, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        return Document("", (), "has no HTML in it")
    title = page.findtext(".//title") or ""
    main = _main(page)
    _strip(main)
    walk = _Walk(glossary=_GLOSSARY.search(title) is not None)
    for event, element in etree.iterwalk(main, events=("start", "end")):
        if event == "start":
            walk.start(element)
        else:
            walk.end(element, last=element is main)
    walk.finish()
    return Document(_title(title, walk), tuple(walk.sections))


def _main(page: HtmlElement) -> HtmlElement:
    for path in (".//main", ".//*[@role='main']", ".//article"):
        found = page.xpath(path)
        if len(found) == 1:
            return found[0]
    return page if page.body is None else page.body


def _strip(main: HtmlElement) -> None:
    for element in [each for each in main.iterdescendants() if _is_furniture(each)]:
        if element.getparent() is not None:
            element.drop_tree()


def _is_furniture(element: HtmlElement) -> bool:
    own = element.attrib
    classes = own.get("class", "").split()
    return (
        (element.tag in FURNITURE and KEPT_ASIDE not in classes)
        or own.get("role") in ("navigation", "search", "banner", "contentinfo")
        or "hidden" in own
        or not FURNITURE_CLASSES.isdisjoint(classes)
        or (element.tag == "header" and element.find(".//h1") is None)
    )


def _is_defined(term: HtmlElement) -> bool:
    """Whether a `dt` names something; the fields of a signature ("Parameters", "Returns") do not."""
    above = term.getparent()
    return above is None or "field-list" not in above.get("class", "").split()


def _title(title: str, walk: _Walk) -> str:
    """The one `h1` if there is one, else `<title>` without the site's name."""
    if len(walk.tops) == 1:
        return walk.tops[0]
    return _SITE.sub("", _SPACE.sub(" ", title).strip()) or (walk.tops[0] if walk.tops else "")


@dataclass
class _Walk:
    """The state of one pass over the tree: text that is being collected, and the sections so far."""

    glossary: bool = False  # whether each term of a list has a section of its own
    sections: list[Section] = field(default_factory=list)
    tops: list[str] = field(default_factory=list)
    path: list[tuple[int, str]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)  # of a list of definitions, not explained yet
    row: list[list[str]] | None = None  # its cells, each of paragraphs
    header: list[str] = field(default_factory=list)  # the names of the table's columns
    data: bool = False  # whether the row has cells that are no header
    row_says: bool = False  # whether the row has more than links
    anchor: str = ""
    next_anchor: str = ""
    block_anchor: str = ""
    inside: str = ""  # "pre" or a heading, whose text is collected as a whole
    links: int = 0
    letters_in_links: int = 0

    def start(self, element: HtmlElement) -> None:
        tag = element.tag
        anchor = element.get("id") or (element.get("name") if tag == "a" else None)
        anchor = None if anchor and _NUMBERED.match(anchor) else anchor
        if tag in HEADINGS and not self.inside:
            self.finish()
            self.inside = tag
            self.next_anchor = anchor or self.next_anchor
        elif self.inside in HEADINGS:
            self.next_anchor = self.next_anchor or anchor or ""
        elif tag in BLOCKS and self.inside != "pre":
            self._flush()
            if tag == "pre":
                self.inside = "pre"
            elif tag == "tr":
                self.row, self.row_says, self.data = [], False, False
            elif tag == "table":
                self.header = []
            elif tag in ("td", "th") and self.row is not None:
                self.row.append([])
                self.data = self.data or tag == "td"
            elif tag == "li":
                self.text.append("- ")
        if anchor and not self.inside:
            if tag in ("section", "div") or (tag in ("span", "a") and not self.next_anchor):
                self.next_anchor = anchor
            if tag in ("dt", "section", "div", "p", "li") and not (self.terms and tag in ("dt", "p")):
                self.block_anchor = anchor
        if tag == "a":
            self.links += 1
        if tag == "br":
            self.text.append("\n" if self.inside == "pre" else " ")
        elif tag == "img" and not self.inside and (alt := element.get("alt")) and " " in alt.strip():
            self.text.append(f" {alt} ")
        self._say(element.text)

    def end(self, element: HtmlElement, *, last: bool) -> None:
        tag = element.tag
        if tag == self.inside:
            self._close(tag)
        elif not self.inside and tag in BLOCKS:
            self._flush(is_term=tag == "dt" and _is_defined(element))
            if tag == "dl":
                self._unexplained()
                self._end_term()
            elif tag == "tr" and self.row is not None:
                self._end_row(self.row)
                self.row = None
        if tag == "a":
            self.links = max(0, self.links - 1)
        if not last:
            self._say(element.tail)

    def finish(self) -> None:
        """Ends the section."""
        self._flush()
        self._unexplained()
        if self.blocks:
            self.sections.append(Section(tuple(name for _, name in self.path), self.anchor, tuple(self.blocks)))
        self.blocks = []

    def _say(self, text: str | None) -> None:
        if text:
            self.text.append(text)
            if self.links:
                self.letters_in_links += len(text.strip())

    def _close(self, tag: str) -> None:
        self.inside = ""
        text = "".join(self.text)
        self.text, self.letters_in_links = [], 0
        if tag == "pre":
            self._unexplained()
            self._block(indented(text))
            return
        name = _SPACE.sub(" ", text).strip(" ¶#\xa0")
        level = int(tag[1])
        if level == 1 and name:
            self.tops.append(name)
        self.path = [(above, heading) for above, heading in self.path if above < level]
        if name:
            self.path.append((level, name))
        self.anchor, self.next_anchor, self.block_anchor = self.next_anchor, "", ""

    def _end_row(self, row: list[list[str]]) -> None:
        """A row of one cell names a thing and explains it; another has a column for each cell."""
        cells = [" ".join(cell) for cell in row]
        if self.row_says and self.data and len(row) == 1 and len(row[0]) > 1:
            for block in definitions.explained(row[0][:1], row[0][1]) + row[0][2:]:
                self._block(block)
        elif self.row_says:
            self._block(tables.row(self.header, cells))
        self.header = self.header if self.data else cells

    def _start_term(self, term: str) -> None:
        self._end_term()
        self.finish()
        self.path.append((_TERM_LEVEL, term))
        self.anchor, self.next_anchor, self.block_anchor = self.block_anchor or self.next_anchor, "", ""

    def _end_term(self) -> None:
        if self.path and self.path[-1][0] == _TERM_LEVEL:
            self.finish()
            self.path.pop()

    def _unexplained(self) -> None:
        """Terms that no paragraph follows are blocks like others."""
        terms, self.terms = self.terms, []
        for term in terms:
            self._block(term)

    def _flush(self, *, is_term: bool = False) -> None:
        text = _SPACE.sub(" ", "".join(self.text)).strip()
        linked = self.letters_in_links > LINKS_ONLY * len(text.removeprefix("- "))
        self.text, self.letters_in_links = [], 0
        if not text or text == "-":
            return
        if self.row is not None:
            self.row = self.row or [[]]
            self.row[-1].append(text)
            self.row_says = self.row_says or not linked
        elif linked:
            return
        elif is_term:
            if self.glossary and not self.terms:
                self._start_term(text)
            self.terms.append(text)
        else:
            terms, self.terms = self.terms, []
            for block in definitions.explained(terms, text) if terms else (text,):
                self._block(block)

    def _block(self, text: str) -> None:
        if text:
            self.blocks.append(Block(text, self.block_anchor))
            self.block_anchor = self.next_anchor = ""
