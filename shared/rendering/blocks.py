"""A statement's text as blocks that can be shown: paragraphs, lists with their steps, code, tables, terms.

The conventions are those of `shared.report.model.Evidence.text`. Lines that only look like one stay a paragraph:
nothing is ever lost or reordered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.report.safe import clean

CODE = "    "
MAX_LEVELS = 6  # of lists in lists; deeper items stay at the deepest level

_ITEM = re.compile(r"(?:[-*+•·‣]|\(?(\d{1,3})[.)])[ ]+(?=\S)")
_NAMED = re.compile(r"([^\s:：|][^:：|]{0,40})[:：]\s+(\S.*)")
_DEFINED = re.compile(r"(\S.{0,79}?) — (\S.*)")
_OPTION = re.compile(r"--?\w|\S+$|\S+\(")  # a term that is one even if it stands alone


@dataclass(frozen=True)
class Paragraph:
    text: str
    kind: str = field(default="paragraph", init=False)


@dataclass(frozen=True)
class Code:
    """Lines as they are; `text` has no line break at its end."""

    text: str
    kind: str = field(default="code", init=False)


@dataclass(frozen=True)
class Item:
    """`number` is what stood before a step, None for an item without one; `inside` are its code and its own lists."""

    text: str
    number: int | None
    inside: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Listing:
    """Items, or steps where `ordered`."""

    items: tuple[Item, ...]
    ordered: bool
    kind: str = field(default="list", init=False)


@dataclass(frozen=True)
class Table:
    """`header` is empty where no cell has the name of its column; rows are as long as the longest."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Terms:
    """Terms with their explanations, or labels with their values."""

    pairs: tuple[tuple[str, str], ...]
    kind: str = field(default="terms", init=False)


Block = Paragraph | Code | Listing | Table | Terms
_Reading = Callable[[str], tuple[str, ...] | None]  # what a line holds, or None


@dataclass
class _Lines:
    """Lines of one kind while they are read: an item with its indent, code, or other lines."""

    kind: str
    lines: list[str]
    indent: int = 0
    number: int | None = None


def blocks(text: str) -> tuple[Block, ...]:
    """The blocks of a statement or a passage; every text has a reading."""
    pieces = _pieces(clean(text, keep_lines=True).expandtabs(4))
    found: list[Block] = []
    at = 0
    while at < len(pieces):
        end = at + 1
        kind = pieces[at].kind
        while end < len(pieces) and _goes_on(kind, pieces[end].kind):
            end += 1
        if kind == "item":
            found += _lists(pieces[at:end])
        elif kind == "code":
            found.append(_code(pieces[at]))
        else:
            found += _parse_unmarked(
                [line for piece in pieces[at:end] for line in [*piece.lines, ""]]
            )  # ends in an empty one
        at = end
    return tuple(found)


def _goes_on(kind: str, following: str) -> bool:
    """Code between two items belongs to the first; the lines of neighbouring paragraphs may be one table."""
    return following in ("item", "code") if kind == "item" else kind == following == "text"


def _pieces(text: str) -> list[_Lines]:
    pieces: list[_Lines] = []
    gap = True
    for line in text.splitlines():
        if not line.strip():
            gap = True
            continue
        last = pieces[-1] if pieces else None
        indent = len(line) - len(line.lstrip(" "))
        mark = _ITEM.match(line, indent)
        listed = last is not None and last.kind == "item"
        if mark and (indent < len(CODE) or (last is not None and listed and indent <= last.indent + len(CODE))):
            number = int(mark[1]) if mark[1] else None
            pieces.append(_Lines("item", [line[mark.end() :].strip()], indent, number))
        elif last is not None and listed and not gap and indent > last.indent:
            last.lines.append(line.strip())
        elif last is not None and last.kind == "code" and indent >= len(CODE):
            last.lines += ["", line] if gap else [line]
        elif indent >= len(CODE) and (gap or listed):
            pieces.append(_Lines("code", [line]))
        elif last is not None and last.kind == "text" and not gap:
            last.lines.append(line.strip())
        else:
            pieces.append(_Lines("text", [line.strip()]))
        gap = False
    return pieces


def _code(piece: _Lines) -> Code:
    return Code("\n".join(line.removeprefix(CODE).rstrip() for line in piece.lines))


def _lists(pieces: Sequence[_Lines]) -> list[Listing]:
    """Items as lists in lists, by their indentation; a change between items and steps begins another list."""
    found: list[Listing] = []
    at = 0
    while at < len(pieces):
        at, one = _list(pieces, at, 1)
        found.append(one)
    return found


def _list(pieces: Sequence[_Lines], at: int, level: int) -> tuple[int, Listing]:
    first = pieces[at]
    items: list[Item] = []
    while at < len(pieces) and pieces[at].kind == "item":
        piece = pieces[at]
        same = (piece.number is None) == (first.number is None)
        if items and (piece.indent < first.indent or not same):
            break
        at += 1
        inside: list[Block] = []
        while at < len(pieces):
            if pieces[at].kind == "code":
                inside.append(_code(pieces[at]))
                at += 1
            elif pieces[at].indent > piece.indent and level < MAX_LEVELS:
                at, inner = _list(pieces, at, level + 1)
                inside.append(inner)
            else:
                break
        items.append(Item(" ".join(piece.lines), piece.number, tuple(inside)))
    return at, Listing(tuple(items), ordered=first.number is not None)


def _parse_unmarked(lines: Sequence[str]) -> list[Block]:
    """Lines without marks as paragraphs, tables and terms; an empty line ends a paragraph."""
    found: list[Block] = []
    prose: list[str] = []
    at = 0
    while at < len(lines):
        block, end = _special(lines, at)
        for line in lines[at:end] if block is None else ("",):
            if line:
                prose.append(line)
            elif prose:
                found.append(Paragraph(" ".join(prose)))
                prose = []
        if block is not None:
            found.append(block)
        at = end
    return found


def _special(lines: Sequence[str], at: int) -> tuple[Block | None, int]:
    """The table or the terms that begin at a line, and where they end; else how far the line's kind reaches."""
    if " | " in lines[at]:
        end, rows = _run(lines, at, lambda line: tuple(line.split(" | ")) if " | " in line else None)
        return _table(rows), end
    end, pairs = _run(lines, at, _match_definition)
    if len(pairs) > 1 or (pairs and _OPTION.match(pairs[0][0])):
        return Terms(tuple((one[0], one[1]) for one in pairs)), end
    end, pairs = _run(lines, at, _match_label)
    if len(pairs) > 1:
        return Terms(tuple((one[0], one[1]) for one in pairs)), end
    return None, at + 1


def _run(lines: Sequence[str], at: int, read: _Reading) -> tuple[int, list[tuple[str, ...]]]:
    """What neighbouring lines hold, empty ones between them left out, and where that ends."""
    found: list[tuple[str, ...]] = []
    end = at
    for number in range(at, len(lines)):
        if not lines[number]:
            continue
        held = read(lines[number])
        if held is None:
            break
        found.append(held)
        end = number + 1
    return end, found


def _match_definition(line: str) -> tuple[str, ...] | None:
    held = _DEFINED.fullmatch(line)
    return None if held is None or held[1].endswith((".", "!", "?", ",")) else (held[1], held[2])


def _match_label(line: str) -> tuple[str, ...] | None:
    held = _NAMED.fullmatch(line)
    return None if held is None or len(held[2]) > 200 else (held[1], held[2])


def _table(rows: Sequence[tuple[str, ...]]) -> Block | None:
    """Rows as a table, where it is sure to be one: some cell names its column, or there are several rows.

    A first row that names nothing is the header where the next ones have its names.
    """
    named = [[_NAMED.fullmatch(cell) for cell in row[1:]] for row in rows]
    names = list(dict.fromkeys(cell[1] for row in named for cell in row if cell is not None))
    if not names and len(rows) < 2:
        return None
    head: tuple[str, ...] = ("", *names) if names else ()
    if names and not any(named[0]) and set(names) <= set(rows[0][1:]):
        head, rows = rows[0], rows[1:]
    at = {name: place for place, name in enumerate(head) if place}
    placed = [_place_cells(row, at) for row in rows]
    width = max(len(row) for row in (head, *placed))
    filled = [row + ("",) * (width - len(row)) for row in placed]
    return Table(head + ("",) * (width - len(head)) if head else (), tuple(filled))


def _place_cells(row: Sequence[str], at: dict[str, int]) -> tuple[str, ...]:
    """The cells of a row under the columns that they name; one that names none comes after the one before."""
    cells = [row[0]]
    for cell in row[1:]:
        name = _NAMED.fullmatch(cell)
        known = name is not None and at.get(name[1], 0) >= len(cells)
        if name is not None and known:
            cells += [""] * (at[name[1]] - len(cells))
        cells.append(name[2] if name is not None and known else cell)
    return tuple(cells)
