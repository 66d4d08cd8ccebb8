"""The text of one block of HTML, and how much of it is in links and in bold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from workers.language.text import normalize
from workers.reading.hypertext import scripts

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_HELPERS = "headerlink anchor-link sr-only visually-hidden copybtn viewcode-link tooltip-content"

_UNSEEN = "script style noscript template head svg canvas iframe object select textarea del s strike rt rp annotation"
_BLOCKS = (
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure"
    " footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol p pre section summary table tbody"
    " td tfoot th thead tr ul"
)
_INLINE = (
    "a abbr acronym b bdi bdo big cite code data dfn em font i ins kbd label mark math mi mn mo mrow nobr output q ruby"
    " samp small span strong sub sup time tt u var wbr msup msub"
)
UNSEEN, HELPERS, BLOCKS, INLINE = (frozenset(names.split()) for names in (_UNSEEN, _HELPERS, _BLOCKS, _INLINE))

_DATA = re.compile(r"data:[a-z]+/[\w.+-]+;base64,[\w+/=%]*")
_PERMALINK = frozenset(("\u00b6", "#", "\u00a7", "\U0001f517", ""))
_BREAK = "\x0b"  # a `<br>`, until the block ends
SENTENCE_WORDS = 8  # so many and a full stop are a sentence
_FEW = 3  # words of a button that only says what it does
_FEW_OF_FORM = 12  # words of a form that is one, not a page inside a form


@dataclass(frozen=True)
class BlockText:
    """The paragraphs of a block (a double `<br>` parts them), its share of letters in links, whether all is bold."""

    paragraphs: list[str]
    letters: int
    linked: float
    bold: bool


@dataclass
class InlineText:
    """What is said since the last block ended; `start` and `end` follow the elements inside it."""

    _text: list[str] = field(default_factory=list)
    _raised: list[int] = field(default_factory=list)  # where superscripts begin in `_text`
    _links: int = 0
    _bold: int = 0
    _letters: int = 0
    _in_links: int = 0
    _in_bold: int = 0

    def start(self, element: HtmlElement) -> None:
        """An element begins, with its text."""
        tag = element.tag
        if tag == "a":
            self._links += 1
        elif tag in ("b", "strong"):
            self._bold += 1
        elif tag == "br":
            self._text.append(_BREAK)
        elif tag == "img" and (alt := element.get("alt")) and " " in alt.strip():
            self._text.append(f" {alt} ")
        elif tag == "input" and element.get("type") == "checkbox":
            self._text.append("\u2611 " if "checked" in element.attrib else "\u2610 ")
        elif tag in ("sup", "sub"):
            self._raised.append(len(self._text))
        elif tag == "q":
            self._text.append("\u201c")
        elif tag not in INLINE and tag not in BLOCKS:
            self._text.append(" ")
        self.say(element.text)

    def end(self, element: HtmlElement) -> None:
        """What `start` began; the element's tail is not said."""
        tag = element.tag
        if tag == "a":
            self._links = max(0, self._links - 1)
        elif tag in ("b", "strong"):
            self._bold = max(0, self._bold - 1)
        elif tag in ("sup", "sub") and self._raised:
            at = self._raised.pop()
            text = "".join(self._text[at:]).strip()
            del self._text[at:]
            if text and not (tag == "sup" and (self._links or element.find(".//a") is not None)):  # a footnote's mark
                self._text.append(scripts.above(text) if tag == "sup" else scripts.below(text))
        elif tag == "q":
            self._text.append("\u201d")
        elif tag not in INLINE and tag not in BLOCKS:
            self._text.append(" ")

    def say(self, text: str | None) -> None:
        """Adds text as it is in the markup."""
        if text:
            self._text.append(text)
            letters = len(text.strip())
            self._letters += letters
            self._in_links += letters if self._links else 0
            self._in_bold += letters if self._bold else 0

    def take(self) -> BlockText:
        """What was said since the last time."""
        paragraphs: list[str] = []
        lines: list[str] = []
        for line in (*"".join(self._text).split(_BREAK), ""):
            if text := tidy(line):
                lines.append(text)
            elif lines:
                paragraphs.append("\n".join(lines))
                lines = []
        letters = max(1, self._letters)
        said = BlockText(paragraphs, self._letters, self._in_links / letters, self._in_bold >= letters)
        self._text, self._raised = [], []
        self._letters = self._in_links = self._in_bold = 0
        return said


def tidy(text: str) -> str:
    """Text of one line: single spaces, one spelling, no data in addresses."""
    text = " ".join(normalize(text).split())
    return _DATA.sub("", text).strip() if "data:" in text else text


class ElementParts:
    """The parts of an element as they begin, end and are followed by their tail; unseen ones have only their tail."""

    def __init__(self, element: HtmlElement) -> None:
        from lxml import etree

        self._root = element
        self._walk = etree.iterwalk(element, events=("start", "end"))
        self._skipped: HtmlElement | None = None

    def __iter__(self) -> Iterator[tuple[Literal["start", "end", "tail"], HtmlElement]]:
        for event, part in self._walk:
            if event == "start":
                if is_unseen(part):
                    self.skip(part)
                else:
                    yield "start", part
                continue
            if part is not self._skipped:
                yield "end", part
            self._skipped = None
            if part is not self._root:
                yield "tail", part

    def skip(self, part: HtmlElement) -> None:
        """Right after its start: what is inside does not come, nor does its end."""
        self._skipped = part
        self._walk.skip_subtree()


def read_text(element: HtmlElement) -> BlockText:
    """All of an element's text, a paragraph for each block in it."""
    line = InlineText()
    taken: list[BlockText] = []
    for event, part in ElementParts(element):
        if event == "tail":
            line.say(part.tail)
            continue
        if part.tag in BLOCKS:
            taken.append(line.take())
        if event == "start":
            line.say("\u2022 " if part.tag == "li" else None)
            line.start(part)
        else:
            line.end(part)
    taken.append(line.take())
    letters = max(1, sum(each.letters for each in taken))
    return BlockText(
        [paragraph for each in taken for paragraph in each.paragraphs],
        sum(each.letters for each in taken),
        sum(each.linked * each.letters for each in taken) / letters,
        all(each.bold for each in taken if each.paragraphs),
    )


def code_of(element: HtmlElement) -> str:
    """The text of a `pre`, its spaces and line ends kept."""
    parts: list[str | None] = []
    for event, part in ElementParts(element):
        if event == "start":
            parts.append("\n" if part.tag == "br" else part.text)
        elif event == "tail":
            parts.append(part.tail)
    return normalize("".join(part for part in parts if part))


def is_sentence(text: str) -> bool:
    """Whether a text is one that is written to be read, though all of it be a link."""
    return len(text.split()) >= SENTENCE_WORDS and text.endswith(".")


def are_numbers(words: list[str]) -> bool:
    """Whether they count up, as the numbers of lines beside their code do."""
    counted = len(words) > 1 and words[0].isdecimal()
    return counted and words == [str(int(words[0]) + number) for number in range(len(words))]


def is_unseen(element: HtmlElement) -> bool:
    """Whether nothing inside the element is text for a reader."""
    tag = element.tag
    if not isinstance(tag, str) or tag in UNSEEN:
        return True
    if tag == "a" and len(element) == 0 and (element.text or "").strip() in _PERMALINK:
        return True
    if tag == "button":
        return len("".join(element.itertext()).split()) <= _FEW and not _in_heading(element)
    if tag == "form":
        return len("".join(element.itertext()).split()) <= _FEW_OF_FORM
    if tag in ("span", "i") and element.get("aria-hidden") == "true":
        return True
    return not HELPERS.isdisjoint(element.get("class", "").split())


def _in_heading(element: HtmlElement) -> bool:
    above = element.getparent()
    return above is not None and (above.tag in ("dt", "summary") or (above.tag[:1] == "h" and above.tag[1:].isdigit()))
