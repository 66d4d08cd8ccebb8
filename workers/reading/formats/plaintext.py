"""A text file as sections by its headings: notes, manual pages, RFCs, books."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from workers.reading.documents.document import Document, DocumentBlock, DocumentSection, slug
from workers.reading.formats import front
from workers.reading.plain.headings import ENDS, Heading, heading, is_leader
from workers.reading.plain.paragraphs import blocks

BOILERPLATE = (
    *("table of contents", "contents", "status of this memo", "copyright notice", "full copyright statement"),
    *("intellectual property", "intellectual property statement", "authors' addresses", "author's address"),
    *("disclaimer of validity", "copyright statement"),
)
MAX_TITLE = 80  # characters of a first line that is a title
PLAIN_LEVEL = 10  # of headings without a level of their own

_PAGE_FOOT = re.compile(r"^.{0,80}\[Page [\divxlc]+\]\s*$", re.IGNORECASE)
_PAGE_HEAD = re.compile(r"^(?:RFC \d+ .{5,70}|Internet-Draft .{5,70}) (?:\w+ )?\d{4}\s*$")
_RFC_NUMBER = re.compile(r"^(?:Request for Comments|RFC):?\s+(\d+)", re.IGNORECASE | re.MULTILINE)
_MANUAL = re.compile(r"^(\S{1,40}\(\d\w{0,4}\)) {2,}(?:\S.{0,100} {2,})?\1$")
_OVERSTRUCK = re.compile(r".\x08")
_DIRECTIVE = re.compile(r"^\.\. (?:[\w:-]+::|_\S|\[\S+\])")
_RUN = re.compile(r"([^\w\s])\1{199,}")  # a mark so many times is a line: shorter is enough


def read(text: str) -> Document:
    """Title and sections. Page breaks, running heads, tables of contents and legal boilerplate are left out."""
    said, text = front.split_front(text)
    text = _RUN.sub(lambda run: run[1] * 80, _OVERSTRUCK.sub("", text) if "\x08" in text else text)
    rfc = _RFC_NUMBER.search(text[:3_000])
    lines = list(_strip_pages(text)) if "\f" in text or rfc else text.splitlines()
    title, lines = _find_title(lines)
    found = _Reader()
    for head, body in _split_sections(lines):
        found.add(head, body)
    sections = found.sections
    if rfc:
        title = f"RFC {rfc[1]}: {_rfc_title(lines)}".rstrip(": ")
        if sections and not sections[0].heading:
            sections = sections[1:]  # names of authors, dates and the title
    document = Document(said.title or title or found.title, tuple(sections))
    return replace(document, modified=said.modified)


@dataclass
class _Reader:
    sections: list[DocumentSection] = field(default_factory=list)
    path: list[tuple[int, str]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    title: str = ""

    def add(self, head: Heading | None, body: list[str]) -> None:
        anchor = ""
        if head is not None:
            if head.name.lower().strip(".") in BOILERPLATE:
                return
            self.title = self.title or head.name
            level = self._level(head)
            self.path = [(above, name) for above, name in self.path if above < level] + [(level, head.name)]
            number = head.number.removeprefix("Appendix ").rstrip(".")
            anchor = ("appendix-" if number[:1].isalpha() else "section-") + number if number else ""
            anchor = anchor or slug(head.name, self.taken)
        kept = (line for line in body if not is_leader(line) and not _DIRECTIVE.match(line))
        found = tuple(DocumentBlock(text) for text in blocks(kept))
        if found:
            self.sections.append(DocumentSection(tuple(name for _, name in self.path), anchor, found))

    def _level(self, head: Heading) -> int:
        if head.number:
            return PLAIN_LEVEL + head.number.count(".")
        if head.mark not in self.marks:
            self.marks.append(head.mark)
        if head.mark.startswith("#"):
            return len(head.mark)
        return self.marks.index(head.mark) if head.mark else PLAIN_LEVEL


def _find_title(lines: list[str]) -> tuple[str, list[str]]:
    """The title that a manual page's head or a short first line gives; the lines without heads and feet."""
    first = next((at for at, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return "", lines
    line = lines[first].expandtabs().strip()
    if manual := _MANUAL.match(line):
        name = manual[1]
        return name.lower(), [each for each in lines if not (each.endswith(name) and "  " in each.expandtabs().strip())]
    alone = first + 1 >= len(lines) or not lines[first + 1].strip()
    is_title = alone and len(line) <= MAX_TITLE and line[-1] not in ENDS and line[0].isalnum() and ": " not in line
    return (line if is_title else ""), lines


def _strip_pages(text: str) -> Iterator[str]:
    """Lines without page feet and running heads; a paragraph that went over a page break is whole again."""
    said: list[str] = []
    broken = False
    for line in text.replace("\f", "\n").splitlines():
        if _PAGE_FOOT.match(line) or _PAGE_HEAD.match(line):
            broken = True
            while said and not said[-1].strip():
                said.pop()
            continue
        if not broken:
            said.append(line)
        elif line.strip():
            goes_on = said and line.strip()[0].islower() and said[-1].rstrip()[-1:] not in (".", ":", ";", "!", "?")
            said.extend([line] if goes_on else ["", line])
            broken = False
    yield from said


def _split_sections(lines: list[str]) -> Iterator[tuple[Heading | None, list[str]]]:
    current: Heading | None = None
    body: list[str] = []
    at = 0
    while at < len(lines):
        found, used = heading(lines, at)
        if found is None:
            body.append(lines[at])
            at += 1
            continue
        yield current, body
        current, body = found, []
        at += used
    yield current, body


def _rfc_title(lines: list[str]) -> str:
    """The centred lines that follow the names at the top."""
    names_seen = False
    group: list[str] = []
    for line in [*lines[:80], ""]:
        if line.strip():
            group.append(line)
            continue
        if names_seen and group and all(each.startswith("   ") for each in group):
            return " ".join(each.strip() for each in group)
        names_seen = names_seen or any(_RFC_NUMBER.match(each) for each in group)
        group = []
    return ""
