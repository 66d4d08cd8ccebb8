"""A text file as sections: RFCs, reStructuredText, man-page-like and numbered headings, else paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from workers.language.sentences import sentences
from workers.reading import definitions
from workers.reading.document import Block, Document, Section, indented, slug

UNDERLINES = "=-~^\"'`#*+:."
BOILERPLATE = (
    *("table of contents", "contents", "status of this memo", "copyright notice", "full copyright statement"),
    *("intellectual property", "intellectual property statement", "authors' addresses", "author's address"),
    *("disclaimer of validity", "copyright statement"),
)
FURTHER_IN = 4  # columns right of its section's text, where grammar and examples stand

_PAGE_FOOT = re.compile(r"^.{0,80}\[Page [\divxlc]+\]\s*$", re.IGNORECASE)
_PAGE_HEAD = re.compile(r"^(?:RFC \d+ .{5,70}|Internet-Draft .{5,70}) (?:\w+ )?\d{4}\s*$")
_RFC_NUMBER = re.compile(r"^(?:Request for Comments|RFC):?\s+(\d+)", re.IGNORECASE | re.MULTILINE)
_NUMBERED = re.compile(r"^((?:Appendix )?[A-Z](?=[.:])(?:\.\d+)*|\d{1,3}(?:\.\d{1,3})*)[.:]?\s{1,4}([^\s.].*\S)\s*$")
_LEADERS = re.compile(r"(?:\.\s?){4,}\s*[\divxlc]+\s*$")
_DRAWN = re.compile(r"\S {3,}\S|[|+\\/<>=_*-]{3,}")
_BULLET = re.compile(r"^(?:[o*+•-]|\(?\d{1,2}[.)])\s+\S")
_DIRECTIVE = re.compile(r"^\.\. (?:(?!note|warning|tip|important|caution)[\w-]+::|_|\[|\S+$)")
_NAMED = "function|method|class|exception|attribute|data|decorator|option|envvar|confval|setting|describe"
_NAMING = re.compile(rf"^\.\. (?:\w+:)?(?:{_NAMED})::\s+(\S.*)")
_HYPHEN = re.compile(r"(?<=\w)(-)\n(?=\w)")  # at a line's end it belongs to the word: "entity-body"
_SPACE = re.compile(r"\s+")


def read(text: str) -> Document:
    """Title and sections. Page breaks, running heads, tables of contents and legal boilerplate are left out."""
    rfc = _RFC_NUMBER.search(text[:3_000])
    lines = list(_unpaged(text)) if "\f" in text or rfc else text.splitlines()
    found = _Reader()
    for heading, body in _split(lines):
        found.add(heading, body)
    title = found.title
    if rfc:
        title = f"RFC {rfc[1]}: {_rfc_title(lines)}".rstrip(": ")
    sections = found.sections
    if rfc and sections and not sections[0].heading:
        sections = sections[1:]  # names of authors, dates and the title
    return Document(title, tuple(sections))


@dataclass(frozen=True)
class _Heading:
    name: str
    mark: str  # what the level is told from: "=" for an underline, "4.1" for a number, "" for neither
    number: str = ""


@dataclass
class _Reader:
    sections: list[Section] = field(default_factory=list)
    path: list[tuple[int, str]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    title: str = ""

    def add(self, heading: _Heading | None, body: list[str]) -> None:
        anchor = ""
        if heading is not None:
            if heading.name.lower().strip(".") in BOILERPLATE:
                return
            self.title = self.title or heading.name
            level = self._level(heading)
            self.path = [(above, name) for above, name in self.path if above < level] + [(level, heading.name)]
            number = heading.number.removeprefix("Appendix ").rstrip(".")
            anchor = ("appendix-" if number[:1].isalpha() else "section-") + number if number else ""
            anchor = anchor or slug(heading.name, self.taken)
        blocks = tuple(_blocks(body))
        if blocks:
            self.sections.append(Section(tuple(name for _, name in self.path), anchor, blocks))

    def _level(self, heading: _Heading) -> int:
        if heading.number:
            return 10 + heading.number.count(".")
        if heading.mark not in self.marks:
            self.marks.append(heading.mark)
        return self.marks.index(heading.mark) if heading.mark else 10


def _unpaged(text: str) -> Iterator[str]:
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


def _split(lines: list[str]) -> Iterator[tuple[_Heading | None, list[str]]]:
    heading: _Heading | None = None
    body: list[str] = []
    at = 0
    while at < len(lines):
        found, used = _heading(lines, at)
        if found is None:
            body.append(lines[at])
            at += 1
            continue
        yield heading, body
        heading, body = found, []
        at += used
    yield heading, body


def _heading(lines: list[str], at: int) -> tuple[_Heading | None, int]:
    """The heading that starts at this line and how many lines it takes, or None."""
    line = lines[at].rstrip()
    if not line or len(line) > 100:
        return None, 0
    after = lines[at + 1].rstrip() if at + 1 < len(lines) else ""
    if after.startswith("*") and after.endswith("*"):  # a box, not a heading
        return None, 0
    if _rule(line) and after and not _rule(after) and at + 2 < len(lines) and lines[at + 2].rstrip()[:3] == line[:3]:
        return _Heading(after.strip(), line[0] * 2), 3
    if _rule(after) and len(after) >= min(len(line), 60) - 1 and not line.startswith(" ") and not _rule(line):
        return _Heading(line, after[0]), 2
    if line[0] in " \t" or (at and lines[at - 1].strip()):
        return None, 0
    if line.isupper() and after[:1] in (" ", "\t") and line[-1].isalpha():
        return _Heading(line, ""), 1  # as manual pages have them
    if after:
        return None, 0
    if _LEADERS.search(line):
        return None, 0
    if numbered := _NUMBERED.match(line):
        return _Heading(line.strip(), numbered[1], numbered[1].rstrip(".")), 1
    following = next((other for other in lines[at + 1 : at + 4] if other.strip()), "")
    if following[:1] in " \t" and following and line[-1] not in ".,;:!?" and line[0].isupper():
        return _Heading(line, ""), 1
    return None, 0


def _rule(line: str) -> bool:
    return len(line) >= 3 and line[0] in UNDERLINES and line == line[0] * len(line)


def _blocks(lines: list[str]) -> Iterator[Block]:
    margin = min((_indent(line) for line in lines if line.strip()), default=0)
    named = ""  # by a directive whose text comes next
    for group in _paragraphs(line.expandtabs()[margin:] for line in lines):
        if naming := _NAMING.match(group[0].strip()):
            named = naming[1]
            continue
        if all(_LEADERS.search(line) for line in group) or _DIRECTIVE.match(group[0]):
            continue
        term, said = (named, group) if named else _defined(group)
        named = ""
        if not term and _is_drawn(group):
            yield Block(indented("\n".join(group)))
            continue
        text = _SPACE.sub(" ", _HYPHEN.sub(r"\1", "\n".join(line.strip() for line in said)))
        bullet = _BULLET.match(text)
        text = "- " + text[2:].lstrip() if bullet and text[0] in "o*+•-" else text
        yield from map(Block, definitions.explained([term], text) if term else [text])


def _defined(group: list[str]) -> tuple[str, list[str]]:
    """The term of a list of definitions, which stands above its indented explanation, and that; "" where it is none."""
    term = group[0].strip().replace("`", "")
    further = [_indent(line) for line in group[1:]]
    said = group[1].strip() if further else ""
    is_term = further and min(further) > _indent(group[0]) and len(term) <= 60
    if not is_term or term[-1] in ".:;,?!" or term.isupper() or not said[0].isupper() or _BULLET.match(term):
        return "", group
    return term, group[1:]


def _paragraphs(lines: Iterable[str]) -> Iterator[list[str]]:
    group: list[str] = []
    for line in lines:
        if not line.strip() or (group and _BULLET.match(line.strip()) and _BULLET.match(group[0].strip())):
            if group:
                yield group
            group = []
        if line.strip():
            group.append(line.rstrip())
    if group:
        yield group


def _is_drawn(group: list[str]) -> bool:
    """Whether the lines are a figure, a table or code: their breaks and spaces mean something."""
    text = "".join(line.strip() for line in group)
    if any(_DRAWN.search(line.strip()) for line in group):
        return len(group) > 1 or not sentences(text)[0].endswith(".")
    if _indent(group[0]) >= FURTHER_IN and text[-1] not in ".!?:;,)":
        return True
    if len({_indent(line) for line in group}) > 2 and not _BULLET.match(group[0].strip()):
        return True
    letters = sum(char.isalnum() or char in " .,;'\"" for char in text)
    return letters < 0.8 * len(text)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _rfc_title(lines: list[str]) -> str:
    """The centred lines that follow the names at the top."""
    names_seen = False
    for group in _paragraphs(lines[:80]):
        if names_seen and all(line.startswith("   ") for line in group):
            return " ".join(line.strip() for line in group)
        names_seen = names_seen or any(_RFC_NUMBER.match(line) for line in group)
    return ""
