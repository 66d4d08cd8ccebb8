"""Spreadsheets (.xlsx, ECMA-376 part 1): each sheet is a section, each row a block with the names of its columns."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from workers.reading.documents.document import Document
from workers.reading.formats.outline import Outline, day, is_header
from workers.reading.office.packed import ZippedFile, beside, no_xml

if TYPE_CHECKING:
    from lxml.etree import _Element

S = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
WORKBOOK = "xl/workbook.xml"
MAX_ROWS, MAX_COLUMNS = 20_000, 200
WIDE = f"has more than {MAX_COLUMNS} columns; the rest is not read"
DATES = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))  # numFmtId, section 18.8.30
SINCE_1900, SINCE_1904 = datetime(1899, 12, 30, tzinfo=UTC), datetime(1904, 1, 1, tzinfo=UTC)  # day 0 of its dates

_QUOTED = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')


def read(data: bytes) -> Document:
    """Raises Unreadable for a file that is damaged or encrypted."""
    packed = ZippedFile(data)
    core = packed.xml_if_there("docProps/core.xml")
    title = "" if core is None else core.findtext("{http://purl.org/dc/elements/1.1/}title") or ""
    outline = Outline(title, untitled=True)
    changed = "" if core is None else core.findtext("{http://purl.org/dc/terms/}modified") or ""
    workbook = packed.xml(WORKBOOK)
    links = packed.xml("xl/_rels/workbook.xml.rels")
    targets = {each.get("Id"): beside(WORKBOOK, each.get("Target") or "") for each in links}
    strings = _strings(packed.xml_if_there("xl/sharedStrings.xml"))
    dates = _dates(packed.xml_if_there("xl/styles.xml"))
    properties = workbook.find(S + "workbookPr")
    since = SINCE_1904 if properties is not None and properties.get("date1904") in ("1", "true") else SINCE_1900
    left = MAX_ROWS
    for sheet in workbook.iter(S + "sheet"):
        name = targets.get(sheet.get(RELATION), "")
        if name not in packed.names or not name.startswith("xl/worksheets/"):
            continue
        outline.heading(1, sheet.get("name") or "", anchor="")
        header: list[str] = []
        for number, cells in enumerate(_rows(packed.read(name), strings, dates, since, outline.notes)):
            if (left := left - 1) < 0:
                outline.notes.append(f"has more than {MAX_ROWS:,} rows; the rest is not read")
                return outline.document(modified=day(changed))
            if number == 0 and is_header(cells):
                header = cells
            else:
                outline.row(header, [*cells, *[""] * (len(header) - len(cells))])
    return outline.document(modified=day(changed))


def _rows(
    data: bytes, strings: list[str], dates: frozenset[int], since: datetime, notes: list[str]
) -> Iterator[list[str]]:
    """The rows that hold anything; each is forgotten when it is read, for a sheet may be as large as memory."""
    from lxml import etree

    rows = etree.iterparse(io.BytesIO(data), tag=S + "row", resolve_entities=False, no_network=True, load_dtd=False)
    try:
        for _, row in rows:
            cells: list[str] = []
            for cell in row.iter(S + "c"):
                column = _column(cell.get("r") or "", len(cells))
                if column < MAX_COLUMNS:
                    cells += [""] * (column - len(cells))
                    cells.append(_value(cell, strings, dates, since))
                elif WIDE not in notes and _value(cell, strings, dates, since):
                    notes.append(WIDE)
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                yield cells
            row.clear()
            while row.getprevious() is not None:
                del row.getparent()[0]
    except etree.XMLSyntaxError as exc:
        raise no_xml(exc) from exc


def _column(reference: str, usual: int) -> int:
    """2 for `C7`."""
    column = 0
    for letter in reference.rstrip("0123456789")[:4]:
        column = column * 26 + ord(letter) - ord("A") + 1
    return column - 1 if column > usual else usual


def _value(cell: _Element, strings: list[str], dates: frozenset[int], since: datetime) -> str:
    kind, raw = cell.get("t") or "n", cell.findtext(S + "v") or ""
    match kind:
        case "s":
            return strings[int(raw)] if raw.isdigit() and int(raw) < len(strings) else ""
        case "inlineStr":
            return "".join(each.text or "" for each in cell.iter(S + "t"))
        case "b":
            return {"1": "yes", "0": "no"}.get(raw, "")
        case "n":
            style = cell.get("s") or ""
            return _date(raw, since) if style.isdigit() and int(style) in dates else _number(raw)
        case "e":
            return ""
    return raw


def _number(raw: str) -> str:
    """As a person writes it: `0.1`, where the file has 0.10000000000000001."""
    try:
        return f"{float(raw):.15g}" if "." in raw or "E" in raw else raw
    except ValueError:
        return raw


def _date(raw: str, since: datetime) -> str:
    try:
        found = since + timedelta(days=float(raw))
    except (ValueError, OverflowError):
        return raw
    found += timedelta(microseconds=500_000)  # times are shares of a day, and a little under the second
    if 0 <= float(raw) < 1:
        return f"{found:%H:%M}"
    return f"{found:%Y-%m-%d}" if (found.hour, found.minute) == (0, 0) else f"{found:%Y-%m-%d %H:%M}"


def _strings(root: _Element | None) -> list[str]:
    """The texts that cells share, without how they are pronounced."""
    if root is None:
        return []
    return [
        "".join(each.text or "" for each in (*item.iterfind(S + "t"), *item.iterfind(f"{S}r/{S}t")))
        for item in root.iter(S + "si")
    ]


def _dates(root: _Element | None) -> frozenset[int]:
    """The styles of cells that show their number as a date or a time."""
    if root is None:
        return frozenset()
    own = {
        int(each.get("numFmtId") or 0)
        for each in root.iter(S + "numFmt")
        if re.search("[ymdhs]", _QUOTED.sub("", each.get("formatCode") or "").lower().replace("general", ""))
    }
    formats = root.find(S + "cellXfs")
    styles = () if formats is None else formats.iter(S + "xf")
    return frozenset(n for n, each in enumerate(styles) if int(each.get("numFmtId") or 0) in DATES | own)
