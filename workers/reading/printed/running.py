"""Parts that only help on paper: running heads and feet, page numbers, tables of contents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from workers.reading.printed.page import PrintedLine

EDGE_LINES = 3  # at the top and at the bottom of a page
REPEATED = 3  # pages that have the same line there
MANY_LEADERS = 3  # lines of a page that is a table of contents

_LEADER = re.compile(r"(?:\. ?){5}|…{2}")
_DIGITS = re.compile(r"\d+|\b[ivxlc]+\b", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?:(?:page|seite|p\.|página|стр\.?|第)\s*)?[-–—|\s]*(?:\d{1,4}|[ivxlc]{1,7})[-–—|\s]*(?:(?:of|von|de|/|из)\s*\d{1,4})?\s*页?$",
    re.IGNORECASE,
)

Page = Sequence[list[PrintedLine]]


def without(pages: Sequence[Page]) -> list[list[list[PrintedLine]]]:
    """The pages without the lines that are the same, but for numbers, at the edges of at least three of them."""
    seen = Counter(key for page in pages for key in {_key(line) for line in _edges(page)})
    return [
        [line for line in page if not (_at_edge(page, line) and (_is_number(line) or seen[_key(line)] >= REPEATED))]
        for page in pages
    ]


def without_contents(page: Page) -> list[list[PrintedLine]]:
    """The page without a table of contents: lines that dots lead to a number, and other numbers among them."""
    leaders = sum(_is_leader(line) for line in page)
    if not leaders:
        return list(page)
    many = leaders >= MANY_LEADERS
    return [line for line in page if not (_is_leader(line) or (many and line[-1].text[-1:].isdigit()))]


def _is_leader(line: list[PrintedLine]) -> bool:
    return any(_LEADER.search(piece.text) for piece in line)


def _edges(page: Page) -> list[list[PrintedLine]]:
    ordered = sorted(page, key=lambda line: -line[0].top)
    return [*ordered[:EDGE_LINES], *ordered[EDGE_LINES:][-EDGE_LINES:]]


def _at_edge(page: Page, line: list[PrintedLine]) -> bool:
    return any(line is each for each in _edges(page))


def _key(line: list[PrintedLine]) -> str:
    return _DIGITS.sub("#", " ".join(piece.text for piece in line)).strip()


def _is_number(line: list[PrintedLine]) -> bool:
    return len(line) == 1 and _NUMBER.match(line[0].text) is not None
