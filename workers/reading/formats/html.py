"""An HTML page as a document: what its author wrote, told from navigation by what it holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workers.reading.documents import decoding
from workers.reading.documents.document import Document, strip_anchors
from workers.reading.formats import plaintext
from workers.reading.hypertext.line import tidy
from workers.reading.hypertext.walk import Walk

if TYPE_CHECKING:
    from lxml.html import HtmlElement

FEW_WORDS = 20  # a page with less text may have been judged too strictly, or be made by a script
MANY_TIMES = 10  # as many words without judging: then it was
NO_WORDS = 5  # a page with fewer words that has a script shows more in a browser
MAIN_SHARE = 0.4  # of the page's letters, which its main part holds
MIN_PLAIN = 400  # characters of a plain text in a page
MAX_MARKS = 0.02  # of them are marks that code is made of
MOSTLY_CODE = 0.7  # of a page's letters: it is a plain text in a `pre`

_FLAT = re.compile(r"<(?!/?(?:h[1-6]|p|li|pre|dt|dd|br|title|script|style|body)\b)/?[a-z][^<>]{0,2000}>", re.IGNORECASE)
_SITE = re.compile(
    r"\s+(?:(?:[|—–·]|::)\s+[^|—–·]*|-\s+[^-]*(?:documentation|docs|manual|wiki|guide|v?\d[\w.]*)[^-]*)$", re.IGNORECASE
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DATED = re.compile(r'"date(?:Modified|Published)"\s*:\s*"(\d{4}-\d{2}-\d{2})')
_DATE_NAMES = (
    *("article:modified_time", "og:updated_time", "last-modified", "dcterms.modified", "dc.date.modified", "revised"),
    *("article:published_time", "dcterms.date", "dc.date", "date"),
)


def read(data: bytes, encoding: str | None = None) -> Document:
    """The page's title, and a section for each heading with the nearest anchor; `encoding` as the outside says it.

    Menus, lists of links, headers and footers without text are left out, unless nothing else is there.
    """
    return of(decoding.text_of(data, encoding), judged=True)


def of(markup: str, *, judged: bool = False) -> Document:
    """A piece of HTML as a document; `judged`: as a page, which has more on it than its author's text."""
    page = _parse(markup)
    if page is None:
        return Document("", (), "has no text in it")
    body = page if page.body is None else page.body
    title = tidy(page.findtext(".//title") or "")
    if not judged:
        walk = Walk().over(body)
        return Document(_title(title, walk.tops), tuple(walk.sections))
    walk = _choose_reading(page, body)
    note = _note(page, body) if walk.words < FEW_WORDS else ""
    if (plain := _plain(walk)) is not None:
        return Document(plain.title or title, plain.sections, note, _find_date(page))
    return Document(_title(title, walk.tops), tuple(walk.sections), note, _find_date(page))


def _parse(markup: str) -> HtmlElement | None:
    from lxml import etree, html

    for nested in (True, False):
        text = markup if nested else _FLAT.sub(" ", markup)
        parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
        try:
            page = html.document_fromstring(text.encode("utf-8", errors="replace"), parser=parser)
        except (etree.ParserError, etree.XMLSyntaxError, ValueError):
            return None
        if not any(error.type_name == "ERR_RESOURCE_LIMIT" for error in parser.error_log):
            break  # else it is nested more than 2,048 deep, and read again without what nests
    return page


def _choose_reading(page: HtmlElement, body: HtmlElement) -> Walk:
    """The strictest reading that leaves something."""
    found = Walk(judged=True, links=False).over(_main(page, body))
    for judged in (True, False):
        if found.words >= FEW_WORDS:
            break
        looser = Walk(judged=judged).over(body)
        if not found.words or looser.words >= MANY_TIMES * found.words:
            found = looser
    return found


def _main(page: HtmlElement, body: HtmlElement) -> HtmlElement:
    for path in (".//main", ".//*[@role='main']", ".//article"):
        found = page.xpath(path)
        if len(found) == 1 and _letters(found[0]) > MAIN_SHARE * _letters(body):
            return found[0]
    return body


def _letters(element: HtmlElement) -> int:
    unseen = sum(len(part.text or "") for part in element.iter("script", "style"))
    return len(element.xpath("string()")) - unseen


def _note(page: HtmlElement, body: HtmlElement) -> str:
    """Why a page has hardly any text."""
    words = Walk().over(body).words
    asks = any("javascript" in "".join(part.itertext()).lower() for part in page.iter("noscript"))
    if page.find(".//script") is not None and words < (FEW_WORDS if asks else NO_WORDS):
        return "is rendered by a script in the browser and has no text of its own"
    return "" if words else "has no text in it"


def _plain(walk: Walk) -> Document | None:
    """The page as a plain text, if it is one inside a `pre`."""
    code = "\n\n".join(walk.code)
    letters = sum(len(block.text) for section in walk.sections for block in section.blocks)
    marks = sum(code.count(mark) for mark in "(){}[]=;_<>")
    if len(code) < MIN_PLAIN or len(code) <= MOSTLY_CODE * letters or marks > MAX_MARKS * len(code):
        return None
    return strip_anchors(plaintext.read(code))


def _title(title: str, tops: list[str]) -> str:
    """The one `h1` if there is one, else `<title>` without the site's name."""
    if len(tops) == 1:
        return tops[0]
    return _SITE.sub("", title) or (tops[0] if tops else "")


def _find_date(page: HtmlElement) -> str:
    """The date that the page gives itself, in its head or in its data for search engines."""
    named = {
        (meta.get("property") or meta.get("name") or meta.get("http-equiv") or "").lower(): meta.get("content", "")
        for meta in page.iter("meta")
    }
    for name in _DATE_NAMES:
        if found := _DATE.match(named.get(name, "").strip()):
            return found[0]
    for script in page.iter("script"):
        if script.get("type") == "application/ld+json" and (dated := _DATED.search(script.text or "")):
            return dated[1]
    return ""
