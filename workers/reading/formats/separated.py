"""Tables as text (.csv, .tsv; RFC 4180 and what people make of it): each row a block with the names of its columns."""

from __future__ import annotations

import csv
import io

from workers.reading.documents import decoding
from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable
from workers.reading.formats.outline import Outline, is_header, tidy

MAX_ROWS = 20_000
SAMPLE = 20_000  # characters that tell which character separates cells


def read(data: bytes) -> Document:
    """Raises Unreadable if it is not text."""
    if decoding.is_binary(data):
        raise Unreadable("is not text")
    text = decoding.text_of(data)
    outline = Outline(untitled=True)
    csv.field_size_limit(len(text) + 1)
    header: list[str] = []
    first = True
    rows = csv.reader(io.StringIO(text), delimiter=_separator(text[:SAMPLE]))
    try:
        for number, row in enumerate(rows):
            cells = [tidy(cell) for cell in row]
            if not any(cells):
                continue
            if number >= MAX_ROWS:
                outline.notes.append(f"has more than {MAX_ROWS:,} rows; the rest is not read")
                break
            if first and is_header(cells):
                header = cells
            else:
                outline.row(header, [*cells, *[""] * (len(header) - len(cells))])
            first = False
    except csv.Error as exc:
        raise Unreadable(f"is not a table ({exc})") from exc
    return outline.document()


def _separator(sample: str) -> str:
    """The one that divides the first lines into the same number of cells, and most of them."""
    lines = [line for line in sample.splitlines()[:20] if line.strip()]
    counted = {mark: [len(row) for row in csv.reader(lines, delimiter=mark)] for mark in "\t;,|"}
    return max(counted, key=lambda mark: (min(counted[mark], default=0), sum(counted[mark])))
