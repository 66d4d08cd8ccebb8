"""A passage's text as units that can be shown: sentences, list items, steps, rows, labels and pieces of code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from workers.language.sentences import sentences

UnitKind = Literal["sentence", "item", "code"]
MAX_CODE = 350  # characters of one piece of code
MAX_SENTENCE = 600  # a longer one is cut at a space: text without sentences must not fill an answer
MAX_ITEM = 300  # a longer item or definition is its first sentence, and the others follow
CODE = "    "
LEVELS = (2, 4, 6)  # spaces before a nested item

_ITEM = re.compile(r"[ \t]*(?:[-*+•·‣▪●]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])[ \t]+(?=\S)")
_BULLET = re.compile(r"^[*+•·‣▪●][ \t]+")
_INLINE = re.compile(r"(?<=\S)[ \t]+[•‣▪●][ \t]+(?=\S)")  # a list that was glued into a paragraph
_ROW = re.compile(r"\S \| \S")
_LABEL = re.compile(r"[^\s:：|][^:：|]{0,40}[:：](?:\s|$)")
_DEFINED = re.compile(r"\S.{0,60} — \S")
_FENCE = re.compile(r"[ \t]*(?:```|~~~)")


@dataclass(frozen=True)
class Unit:
    """The smallest piece that is shown whole.

    `before` is what separates it from the unit before it: a space, a line break or a blank line. `announces` says that
    what follows belongs to it: it ends in a colon, or is right before a list.
    """

    text: str
    kind: UnitKind
    before: str
    announces: bool = False


def split_units(text: str) -> list[Unit]:
    """The units of a passage in reading order. Blocks are told apart by blank lines, and lists by their marks."""
    units: list[Unit] = []
    for block in _blocks(text):
        made = list(_of_block(block))
        if units and made:
            last = units[-1]
            if last.kind == "sentence" and made[0].kind != "sentence" and not last.announces:
                # What stands right before a list or code announces it, whatever it ends in.
                units[-1] = Unit(last.text, last.kind, last.before, announces=True)
            together = last.kind == "item" and made[0].kind == "item"
            made[0] = Unit(made[0].text, made[0].kind, "\n" if together else "\n\n", made[0].announces)
        units += made
    return units


def _blocks(text: str) -> Iterator[list[str]]:
    """The lines of each block, without blank ones; fenced code is one block, four spaces in."""
    block: list[str] = []
    fenced = False
    for line in _INLINE.sub("\n\n• ", text).expandtabs(4).splitlines():
        if _FENCE.match(line):
            if block:
                yield block
            block, fenced = [], not fenced
        elif fenced:
            block.append(CODE + line)
        elif line.strip():
            block.append(line.rstrip())
        elif block:
            yield block
            block = []
    if block:
        yield block


def _of_block(lines: list[str]) -> Iterator[Unit]:
    if all(line.startswith(CODE) for line in lines) and not _ITEM.match(lines[0]):
        yield from _code(lines)
        return
    before = ""
    for group in _lines_together(lines):
        text = " ".join(line.strip() for line in group)
        if _is_item(group[0]):
            text, indent = _BULLET.sub("- ", text), _indent(group[0])
            first, *others = list(_pieces(text)) if len(text) <= MAX_ITEM else _split_sentences(text)
            yield Unit(indent + first, "item", before, first.endswith((":", "：")))
            yield from (Unit(other, "sentence", " ", other.endswith((":", "："))) for other in others)
        else:
            for said in _split_sentences(text):
                yield Unit(said, "sentence", before, said.endswith((":", "：")))
                before = " "
        before = "\n"


def _indent(item: str) -> str:
    """Two spaces for each level that an item is further in, as readers write it; other text has levels of its own."""
    spaces = len(item) - len(item.lstrip())
    return " " * spaces if spaces in LEVELS else ""


def _lines_together(lines: list[str]) -> Iterator[list[str]]:
    """Lines that make one item or one paragraph; a line that is an item, a row or a label begins a new one."""
    group: list[str] = []
    for line in lines:
        if group and (_is_item(line) or (_is_item(group[0]) and not _goes_on(line, group[0]))):
            yield group
            group = []
        group.append(line)
    if group:
        yield group


def _is_item(line: str) -> bool:
    stripped = line.strip()
    if _ITEM.match(line) or _ROW.search(line) or _DEFINED.match(stripped):
        return True
    return bool(_LABEL.match(stripped)) and len(stripped) <= 200 and not stripped.endswith((":", "："))


def _goes_on(line: str, item: str) -> bool:
    """Whether a line without a mark belongs to the item above it: it is indented further."""
    return bool(_ITEM.match(item)) and len(line) - len(line.lstrip()) > len(item) - len(item.lstrip())


def _code(lines: list[str]) -> Iterator[Unit]:
    piece: list[str] = []
    before = ""
    for line in lines:
        if piece and sum(map(len, piece)) + len(line) > MAX_CODE:
            yield Unit("\n".join(piece), "code", before)
            piece, before = [], "\n"
        piece.append(line[: MAX_CODE + len(CODE)])
    yield Unit("\n".join(piece), "code", before)


def _split_sentences(text: str) -> list[str]:
    return [piece for sentence in sentences(text) for piece in _pieces(sentence)]


def _pieces(sentence: str) -> Iterator[str]:
    while len(sentence) > MAX_SENTENCE:
        at = sentence.rfind(" ", MAX_SENTENCE // 2, MAX_SENTENCE)
        at = at if at > 0 else MAX_SENTENCE
        yield sentence[:at]
        sentence = sentence[at:].strip()
    if sentence:
        yield sentence
