"""A document as passages: what every reader of a format makes, and how long sections are cut."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from workers.language.sentences import sentences
from workers.language.text import normalize
from workers.language.words import count

PASSAGE_WORDS = 400  # of 144 questions, twelve passages of 150, 250, 400 words held the answer of 123, 126, 125
LONG_WORD = 20  # characters; text with longer ones is not prose, and counts by its length
ENOUGH = 0.45  # of a passage's length, to end it early before a block that has an anchor of its own
CODE = "    "  # a block whose lines start with this is code, as in Markdown


@dataclass(frozen=True)
class DocumentBlock:
    """A paragraph, list item, table row or piece of code; `anchor` where the document offers one just here."""

    text: str
    anchor: str = ""


@dataclass(frozen=True)
class DocumentSection:
    """The text under one heading; `heading` is the path of headings above it, outermost first."""

    heading: tuple[str, ...]
    anchor: str
    blocks: tuple[DocumentBlock, ...]


@dataclass(frozen=True)
class Document:
    """A file or page as its reader understood it.

    `note` says what could not be read. `modified` is a date (ISO) that it gives itself, "" where none.
    """

    title: str
    sections: tuple[DocumentSection, ...]
    note: str = ""
    modified: str = ""


@dataclass(frozen=True)
class DocumentPassage:
    """At most about 400 words under one heading.

    `anchors` are pairs of a position in `text` (characters) and the anchor that starts there, ascending.
    """

    heading: str
    text: str
    anchors: tuple[tuple[int, str], ...]


def passages(document: Document) -> Iterator[DocumentPassage]:
    """The document's passages in reading order; a section is cut at ends of blocks into parts of like length."""
    for section in document.sections:
        whole = (DocumentBlock(normalize(block.text), block.anchor) for block in section.blocks)
        blocks = [part for block in whole for part in _short(block)]
        total = sum(_size(block.text) for block in blocks)
        if not total:
            continue
        target = total / -(-total // PASSAGE_WORDS)
        heading = normalize(" › ".join(part for part in section.heading if part != document.title))
        anchor = section.anchor
        for group in _group(blocks, target):
            passage = _passage(heading, anchor, group)
            anchor = passage.anchors[-1][1]
            yield passage


def strip_anchors(document: Document) -> Document:
    """Our anchors do not exist on a third-party page."""
    sections = (
        DocumentSection(each.heading, "", tuple(DocumentBlock(block.text) for block in each.blocks))
        for each in document.sections
    )
    return replace(document, sections=tuple(sections))


def indent(code: str) -> str:
    """Code as a block of text: no blank lines inside (a blank line ends a block), each line four spaces in."""
    return "\n".join(CODE + line.rstrip() for line in code.expandtabs(4).splitlines() if line.strip())


def slug(heading: str, taken: dict[str, int]) -> str:
    """GitHub's anchor: lower case, only letters, digits, `-` and `_`, spaces as `-`, a number on repeats."""
    name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
    count = taken.get(name, 0)
    taken[name] = count + 1
    return f"{name}-{count}" if count else name


def _passage(heading: str, anchor: str, blocks: list[DocumentBlock]) -> DocumentPassage:
    anchors = [(0, anchor)]
    position = 0
    for block in blocks:
        if block.anchor and block.anchor != anchors[-1][1]:
            if anchors[-1][0] == position:
                anchors.pop()
            anchors.append((position, block.anchor))
        position += len(block.text) + 2
    return DocumentPassage(heading, "\n\n".join(block.text for block in blocks), tuple(anchors))


def _group(blocks: Iterable[DocumentBlock], target: float) -> Iterator[list[DocumentBlock]]:
    group: list[DocumentBlock] = []
    size = 0
    for block in blocks:
        words = _size(block.text)
        ends_well = bool(block.anchor) and size > target * ENOUGH  # a definition starts here: do not split it
        # What a block announces stays with it.
        announces = bool(group) and group[-1].text.endswith((":", "：")) and size < 1.5 * target
        if group and not announces and (ends_well or size + words / 2 > target):
            yield group
            group, size = [], 0
        group.append(block)
        size += words
    if group:
        yield group


def _short(block: DocumentBlock) -> Iterator[DocumentBlock]:
    """A block of more than a passage's length in parts: code between lines, prose between sentences."""
    if _size(block.text) <= PASSAGE_WORDS:
        yield block
        return
    code = block.text.startswith(CODE)
    parts = block.text.splitlines() if code else sentences(block.text)
    parts = [piece for part in parts for piece in _pieces(part)]
    for group in _group((DocumentBlock(part) for part in parts), PASSAGE_WORDS / 2):
        yield DocumentBlock(("\n" if code else " ").join(part.text for part in group), block.anchor)


def _pieces(text: str) -> Iterator[str]:
    """A sentence that does not end, cut between words, and between characters where there are no spaces."""
    if _size(text) <= PASSAGE_WORDS:
        yield text
        return
    words = text.split(" ")
    for start in range(0, len(words), PASSAGE_WORDS // 2):
        piece = " ".join(words[start : start + PASSAGE_WORDS // 2])
        if _size(piece) <= PASSAGE_WORDS:
            yield piece
        else:
            yield from (piece[at : at + PASSAGE_WORDS] for at in range(0, len(piece), PASSAGE_WORDS))


def _size(text: str) -> int:
    return max(count(text), len(text) // LONG_WORD)
