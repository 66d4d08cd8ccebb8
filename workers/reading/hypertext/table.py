"""A table of HTML as blocks: a row each, with the names of its columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workers.reading.documents import definitions, tables
from workers.reading.hypertext.line import BlockText, read_text

if TYPE_CHECKING:
    from lxml.html import HtmlElement

LINKS_ONLY = 0.75  # of a row's letters in links: it is a menu, unless the table has names of columns
MAX_CELL = 1_500  # characters; a longer cell is a part of the page that was laid out as a table
MAX_SPAN = 100  # rows or columns
_NO_CELL = (".//table", ".//h1", ".//h2", ".//h3", ".//h4", ".//dl", ".//form", ".//article", ".//section")


def is_layout(table: HtmlElement) -> bool:
    """Whether the table only lays out a page: it holds headings, other tables, or one row with code or long text."""
    if any(table.find(path) is not None for path in _NO_CELL):
        return True
    rows = list(table.iter("tr"))
    if len(rows) <= 1 and (table.find(".//pre") is not None or table.find(".//p") is not None):
        return True
    return any(len("".join(cell.itertext())) > MAX_CELL for cell in table.iter("td"))


def blocks(table: HtmlElement, *, links: bool) -> Iterator[tuple[str, str]]:
    """Each row's blocks with the row's own anchor; `links`: also rows of links without a header."""
    header: list[str] = []
    spans: dict[int, tuple[int, str]] = {}  # cells that go on in the rows below, by column
    for row in table.iter("tr"):
        cells = [each for each in row if each.tag in ("td", "th")]
        read = [read_text(cell) for cell in cells]
        texts = _place(cells, read, spans)
        anchor = row.get("id") or next((cell.get("id") for cell in cells if cell.get("id")), None) or ""
        is_header = all(cell.tag == "th" for cell in cells) or (not header and _in_head(row))
        if not any(texts) or (not links and not header and not is_header and _linked_share(read) > LINKS_ONLY):
            continue
        if len(cells) == 1 and not is_header and len(read[0].paragraphs) > 1:
            first, second, *others = read[0].paragraphs
            for text in (*definitions.explain([first], second), *others):
                yield anchor, text
        elif not header and len(cells) == 2 and cells[0].tag == "th" and cells[1].tag == "td":
            yield anchor, f"{texts[0].rstrip(':')}: {texts[1]}"
        else:
            yield (
                anchor,
                tables.row(header, texts if header else [text for text in texts if text.strip("\u2013\u2014-")]),
            )
        header = texts if is_header else header


def _place(cells: list[HtmlElement], read: list[BlockText], spans: dict[int, tuple[int, str]]) -> list[str]:
    """The row's texts by column, with those of cells above that reach down into it."""
    placed: list[str] = []
    for cell, text in zip(cells, (" ".join(each.paragraphs).replace("\n", " ") for each in read), strict=True):
        _carry(placed, spans)
        for wide in range(_number(cell.get("colspan"))):
            if (rows := _number(cell.get("rowspan"))) > 1:
                spans[len(placed)] = (rows - 1, text)
            placed.append("" if wide else text)
    _carry(placed, spans)
    return placed


def _carry(placed: list[str], spans: dict[int, tuple[int, str]]) -> None:
    while (column := len(placed)) in spans:
        rows, text = spans.pop(column)
        if rows > 1:
            spans[column] = (rows - 1, text)
        placed.append(text)


def _number(span: str | None) -> int:
    return min(int(span), MAX_SPAN) if span and span.isdecimal() and int(span) else 1


def _in_head(row: HtmlElement) -> bool:
    above = row.getparent()
    return above is not None and above.tag == "thead"


def _linked_share(read: list[BlockText]) -> float:
    letters = sum(each.letters for each in read)
    return sum(each.linked * each.letters for each in read) / max(1, letters)
