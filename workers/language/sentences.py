"""Where the sentences of a paragraph end, in any language."""

from __future__ import annotations

import re

_END = re.compile(  # before a capital, a digit, or a letter of a script that has no capitals
    r"(?<=[.!?…])(?:[\"')\]»”’]{0,2})\s+(?=[\"'(\[`«„“¿¡]*[^\W_a-zà-ÿа-яα-ω])"
    r"|(?<=[。！？])(?![」』）”])"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|resp|approx|ca|incl|max|min|Dr|Mr|Mrs|Ms|Prof|St|No|Nr|Fig|Sec|Sect|Eq|vol|pp|al|"
    r"Jan|Feb|Aug|Sept?|Oct|Nov|Dec|z\. ?B|d\. ?h|u\. ?a|bzw|usw|vgl|Abb|Abs|p\. ?ex|т\. ?д|т\. ?е)\.|\b[^\W\d_]\.)$"
)
_ORDINAL = re.compile(r"(?:^|\s)\d{1,2}\.$")  # "am 3. Mai", "1. Open the lid"


def sentences(paragraph: str) -> list[str]:
    """The sentences of one paragraph, stripped; abbreviations, initials and ordinals do not end one.

    Linear in the length of the paragraph.
    """
    found: list[str] = []
    start = 0
    for end in _END.finditer(paragraph):
        piece = paragraph[start : end.start()].strip()
        if piece and not _goes_on(piece):
            found.append(paragraph[start : end.end()].strip())
            start = end.end()
    rest = paragraph[start:].strip()
    return [*found, rest] if rest else found


def _goes_on(piece: str) -> bool:
    last = piece[-12:]
    return bool(_ABBREVIATION.search(last)) or (bool(_ORDINAL.search(last)) and len(piece) < 40)
