"""A row of a table as one line that can be read without the table: each cell with the name of its column."""

from __future__ import annotations

from collections.abc import Sequence

MAX_NAME = 40  # characters; a longer header is not a column's name


def row(header: Sequence[str], cells: Sequence[str]) -> str:
    """`PORT | Default: 8000 | Meaning: where it listens`; without a header that fits, the cells alone.

    The first cell is what the row is about and needs no name.
    """
    if len(header) != len(cells) or len(cells) < 2 or any(len(name) > MAX_NAME for name in header):
        return " | ".join(cell for cell in cells if cell)
    named = (f"{name}: {cell}" if name else cell for name, cell in zip(header[1:], cells[1:], strict=True) if cell)
    return " | ".join([*cells[:1], *named])
