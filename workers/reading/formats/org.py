"""Org files (.org, the syntax of Org 9): headings with their keywords, lists, terms, tables and blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from workers.reading.documents import decoding
from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable
from workers.reading.formats.outline import Outline

CODE_BLOCKS = frozenset(("src", "example", "export", "verbatim"))
SKIPPED_BLOCKS = frozenset(("comment",))

_HEADING = re.compile(r"^(\*+)\s+(\S.*)$")
_TAGS = re.compile(r"\s+:[\w@#%:]+:\s*$")
_KEYWORD = re.compile(r"^#\+(\w+):\s*(.*)$")
_BEGIN = re.compile(r"^\s*#\+begin_(\w+)", re.IGNORECASE)
_DRAWER = re.compile(r"^\s*:[\w-]+:\s*$")
_ITEM = re.compile(r"^(\s*)(?:[-+]|\s\*|(\d+)[.)])\s+(?:\[[ X-]\]\s+)?(\S.*)$")
_PLANNED = re.compile(r"^\s*(?:SCHEDULED|DEADLINE|CLOSED):")
_LINK = re.compile(r"\[\[([^\[\]]{1,1000})\](?:\[([^\[\]]{1,1000})\])?\]")
_MARKED = re.compile(r"(?<![\w*/_=~+])([*/_=~+])(?=\S)(.{1,500}?)(?<=\S)\1(?![\w])")
_STAMP = re.compile(r"[<\[](\d{4}-\d\d-\d\d)(?:[^<>\]]{0,20}?(\d\d:\d\d))?[^<>\]]{0,40}[>\]]")


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
    paragraph: list[str] = field(default_factory=list)
    item: tuple[int, str] | None = None  # depth and mark of the list's item that the paragraph belongs to
    indents: list[int] = field(default_factory=list)  # of the lists around here, outermost first

    def line(self) -> None:
        line = self.lines[self.at].rstrip()
        self.at += 1
        if not line.strip():
            self.flush()
        elif heading := _HEADING.match(line):
            self.flush()
            self.indents = []
            self.outline.heading(len(heading[1]), _plain(_TAGS.sub("", heading[2])), anchor="")
        elif begin := _BEGIN.match(line):
            self.flush()
            self._block(begin[1].lower())
        elif keyword := _KEYWORD.match(line):
            self.flush()
            if keyword[1].lower() == "title":
                self.outline.title = keyword[2]
            elif keyword[1].lower() == "caption":
                self.outline.say(_plain(keyword[2]))
        elif _DRAWER.match(line):
            self.flush()
            self._until(r"\s*:end:\s*$")
        elif line.startswith("#"):  # a comment
            self.flush()
        elif line.lstrip().startswith("|"):
            self.flush()
            self.at -= 1
            self._table()
        elif re.match(r"^\s*: ", line):
            self.flush()
            self.outline.code(line.strip()[2:])
        elif _PLANNED.match(line):
            self.flush()
            self.outline.say(_plain(line))
        elif item := _ITEM.match(line):
            self._begin(len(item[1]), item[2], item[3])
        else:
            self.paragraph.append(line.strip())

    def flush(self) -> None:
        """Ends the paragraph."""
        text, item = _plain(" ".join(self.paragraph)), self.item
        self.paragraph, self.item = [], None
        if not text:
            return
        if item is None:
            self.indents = []
            self.outline.say(text)
        elif " :: " in text and item[1] == "-":
            term, _, said = text.partition(" :: ")
            self.outline.explained([term], said)
        else:
            self.outline.item(text, depth=item[0], mark=item[1])

    def _begin(self, indent: int, number: str | None, text: str) -> None:
        self.flush()
        self.indents = [*(each for each in self.indents if each < indent), indent]
        self.item = (len(self.indents) - 1, f"{number}." if number else "-")
        self.paragraph = [text]

    def _block(self, name: str) -> None:
        if name in CODE_BLOCKS | SKIPPED_BLOCKS:
            lines = self._until(rf"\s*#\+end_{re.escape(name)}")
            if name in CODE_BLOCKS:
                self.outline.code("\n".join(line.removeprefix(",") for line in lines))

    def _table(self) -> None:
        """A rule below the first row makes it the names of the columns."""
        start = self.at
        while self.at < len(self.lines) and self.lines[self.at].lstrip().startswith("|"):
            self.at += 1
        lines = [line.strip() for line in self.lines[start : self.at]]
        rows = [[_plain(cell) for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|-")]
        self.outline.table(rows, headed=len(lines) > 1 and lines[1].startswith("|-"))

    def _until(self, end: str) -> list[str]:
        start, ends = self.at, re.compile(end, re.IGNORECASE)
        while self.at < len(self.lines) and not ends.match(self.lines[self.at]):
            self.at += 1
        self.at += 1
        return self.lines[start : self.at - 1]


def _plain(text: str) -> str:
    """Without marks; a link is what it is called."""
    text = _LINK.sub(lambda found: found[2] or found[1], text)
    text = _STAMP.sub(lambda found: " ".join(filter(None, found.groups())), text)
    return _MARKED.sub(r"\2", _MARKED.sub(r"\2", text))
