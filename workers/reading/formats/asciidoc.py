"""AsciiDoc (.adoc): headings, lists, terms, tables, blocks and admonitions, of the language's documentation 2.0."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from workers.reading.documents import decoding
from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable
from workers.reading.formats.outline import Outline

CODE_FENCES = ("----", "....", "```")
KEPT_ATTRIBUTES = 1_000

_HEADING = re.compile(r"^(={1,6}|#{1,6})\s+(\S.*)$")
_ATTRIBUTE = re.compile(r"^:([\w][\w-]*):\s*(.*)$")
_REFERENCE = re.compile(r"\{([\w][\w-]*)\}")
_ANCHOR = re.compile(r"^\[(?:\[([\w:.-]+)(?:,[^\]]*)?\]|#([\w:.-]+)[^\]]*)\]$")
_BLOCK_LINE = re.compile(r"^\[.*\]$")  # attributes of the block that follows
_ITEM = re.compile(r"^\s*(\*{1,6}|-|\.{1,6}|\d+\.)\s+(\S.*)$")
_TERM = re.compile(r"^(\S.*?)(:{2,4}|;;)(?:\s+(\S.*))?$")
_LABEL = re.compile(r"^\.([^\s.].*)$")
_ADMONITION = re.compile(r"^(NOTE|TIP|IMPORTANT|WARNING|CAUTION):\s+")
_MACROS = "xref|link|mailto|https?|image|kbd|btn|menu|footnote|anchor|icon|pass|stem|indexterm2?"
_MACRO = re.compile(rf"\b(?:{_MACROS}):(:?[^\s\[]{{0,1000}})\[([^\[\]]{{0,1000}})\]")
_CROSS = re.compile(r"<<([^,<>]{1,500})(?:,\s*([^<>]{1,500}))?>>")
_MARKED = re.compile(r"(?<![\w*_`])(\*\*?|__?|``?|\#\#?)(?=\S)(.{1,500}?)(?<=\S)\1(?![\w])")
_ROLE = re.compile(r"\[[.#%][\w .#%-]+\](?=[#*_`])")
_BULLET_BOX = re.compile(r"^\[[ x*]\]\s+")
_CELL = re.compile(r"(?:^|\s)(?:\d*\.?\d*[+*])?[<^>]?(?:\.[<^>])?[aehlmsd]?\|")


def read(data: bytes) -> Document:
    """Raises Unreadable if it is not text."""
    if decoding.is_binary(data):
        raise Unreadable("is not text")
    walk = _Walk(decoding.text_of(data).splitlines())
    while walk.at < len(walk.lines):
        walk.line()
    walk.flush()
    return walk.outline.document()


@dataclass
class _Walk:
    lines: list[str]
    at: int = 0
    outline: Outline = field(default_factory=Outline)
    attributes: dict[str, str] = field(default_factory=dict)
    paragraph: list[str] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)
    item: tuple[int, str] | None = None  # depth and mark of the list's item that the paragraph belongs to
    numbers: list[int] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)  # of the lists around here, outermost first
    anchor: str | None = None
    options: str = ""

    def line(self) -> None:
        line = self.lines[self.at].rstrip()
        self.at += 1
        if not line.strip():
            self.flush()
        elif line.startswith("//"):
            if line.startswith("////"):
                self._until(line)
        elif line.startswith(CODE_FENCES):
            self.flush()
            self.outline.code("\n".join(self._until("```" if line.startswith("```") else line)))
        elif line.startswith("|==="):
            self.flush()
            self._table(self._until("|==="))
        elif re.match(r"^(={4,}|\*{4,}|_{4,}|--|\+{4,}|'{3,}|<{3,}|\+)$", line):
            self.flush(keep_lists=line == "+")  # what is inside such a block is read like the rest
        elif heading := _HEADING.match(line):
            self.flush()
            self.outline.heading(len(heading[1]), self._plain(heading[2]), anchor=self.anchor)
            self.anchor, self.marks, self.numbers = None, [], []
            if heading[1] == "=":
                self._head()
        elif attribute := _ATTRIBUTE.match(line):
            if len(self.attributes) < KEPT_ATTRIBUTES:
                self.attributes[attribute[1]] = attribute[2]
        elif anchor := _ANCHOR.match(line):
            self.flush()
            self.anchor = anchor[1] or anchor[2]
        elif _BLOCK_LINE.match(line):
            self.flush()
            self.options = line
        elif re.match(r"^(?:include|ifdef|ifndef|ifeval|endif|toc|image|video|audio)::", line):
            self.flush()
            if line.startswith("image::") and (alt := line.partition("[")[2].rstrip("]").partition(",")[0]):
                self.outline.say(alt.strip('"'))
        elif not self.paragraph and (label := _LABEL.match(line)):
            self.outline.say(self._plain(label[1]))
        elif item := _ITEM.match(line):
            self._begin(item[1], item[2])
        elif (term := _TERM.match(line)) and "://" not in term[1]:
            self._term(term[1], term[3] or "")
        elif line.startswith(" ") and not self.paragraph and self.item is None and not self.terms:
            self.at -= 1
            self.outline.code("\n".join(self._while_indented()))
        else:
            self.paragraph.append(line.strip().removesuffix(" +"))

    def flush(self, *, keep_lists: bool = False) -> None:
        """Ends the paragraph."""
        text = self._plain(" ".join(self.paragraph))
        terms, self.terms = (self.terms, []) if text else ([], self.terms)
        item, self.item = self.item, None
        self.paragraph = []
        if not text:
            return
        if item is not None:
            self.outline.item(_BULLET_BOX.sub("", text), depth=item[0], mark=item[1])
        elif terms:
            self.outline.explained(terms, text)
        else:
            self.outline.say(_ADMONITION.sub(lambda found: f"{found[1].capitalize()}: ", text))
            if not keep_lists:
                self.marks, self.numbers = [], []

    def _head(self) -> None:
        """The lines below the title, up to an empty one: who wrote it, which revision it is, and attributes."""
        while self.at < len(self.lines) and (line := self.lines[self.at].strip()):
            self.at += 1
            if attribute := _ATTRIBUTE.match(line):
                self.attributes[attribute[1]] = attribute[2]

    def _begin(self, mark: str, text: str) -> None:
        """An item; lists are nested as their marks come, `*` and `**` or `*` and `.`."""
        self.flush()
        self.terms = []
        kind = "1." if mark[0].isdigit() else mark
        if kind in self.marks:
            depth = self.marks.index(kind)
            self.marks, self.numbers = self.marks[: depth + 1], self.numbers[: depth + 1]
            self.numbers[-1] += 1
        else:
            depth = len(self.marks)
            self.marks.append(kind)
            self.numbers.append(1)
        self.item = (depth, f"{self.numbers[-1]}." if kind[0] in ".1" else "-")
        self.paragraph = [text]

    def _term(self, term: str, text: str) -> None:
        if self.paragraph:
            self.flush()
        self.terms.append(self._plain(term))
        if text:
            self.paragraph = [text]

    def _table(self, lines: list[str]) -> None:
        """Cells begin with `|`; the first line with cells tells how many columns there are, unless `cols` does."""
        text, options, self.options = "\n".join(lines), self.options, ""
        first = next((line for line in lines if line.strip()), "")
        count = _columns(options) or max(len(_CELL.findall(first)), 1)
        cells = [self._plain(cell) for cell in _CELL.split(text)[1:]]
        rows = [cells[start : start + count] for start in range(0, len(cells), count)]
        stands_alone = first in lines and (lines[lines.index(first) + 1 :] or ["x"])[0].strip() == ""
        self.outline.table(rows, headed="header" in options or (stands_alone and lines[:1] == [first]))

    def _until(self, fence: str) -> list[str]:
        start = self.at
        while self.at < len(self.lines) and self.lines[self.at].rstrip() != fence:
            self.at += 1
        self.at += 1
        return self.lines[start : self.at - 1]

    def _while_indented(self) -> list[str]:
        start = self.at
        while self.at < len(self.lines) and self.lines[self.at].startswith(" "):
            self.at += 1
        return self.lines[start : self.at]

    def _plain(self, text: str) -> str:
        """Without marks; attributes that are set are put in."""
        text = _REFERENCE.sub(lambda found: self.attributes.get(found[1], found[0]), text)
        text = _MACRO.sub(lambda found: found[2].split(",")[0].rstrip("^") or found[1].strip(":"), text)
        text = _CROSS.sub(lambda found: found[2] or found[1].lstrip("#"), text)
        text = _ROLE.sub("", text)
        for _ in range(2):  # marks in marks
            text = _MARKED.sub(r"\2", text)
        return text


def _columns(options: str) -> int:
    found = re.search(r'cols="?([^"\]]+)"?', options)
    if not found:
        return 0
    counted = [each.partition("*")[0] if "*" in each else "1" for each in found[1].split(",")]
    return sum(int(each) if each.isdigit() else 1 for each in counted)
