"""From a ranked list of passages in a store to the evidence a step hands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.contracts import Missing
from shared.report.model import AskedWord, Evidence
from workers.index.excerpts import excerpt
from workers.index.ranking import Ranked, SearchedQuestion


def format_count(number: int, noun: str) -> str:
    """`1 document`, `1,200 documents`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Found:
    """What a provider found: `searched` in words a reader understands, `missing` what could not be had.

    `words` are the question's, as the index knows them.
    """

    evidence: list[Evidence]
    searched: str
    words: list[AskedWord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


def evidence(hits: Sequence[Ranked], asked: SearchedQuestion, provider: str) -> list[Evidence]:
    """Each passage with its excerpt, the anchor nearest above it, and an id made from place and text."""
    return [_evidence(each, asked, provider) for each in hits]


def _evidence(each: Ranked, asked: SearchedQuestion, provider: str) -> Evidence:
    hit = each.hit
    said = excerpt(hit.body, hit.language, asked)
    anchor = [name for at, name in hit.anchors if at <= said.position][-1:] or [""]
    return Evidence(
        id=hit.key,
        title=hit.title,
        location=f"{hit.path}#{anchor[0]}" if anchor[0] else hit.path,
        provider=provider,
        score=each.score,
        excerpt=said.text,
        text=hit.body,
        heading=hit.heading,
        question=asked.text,
        language=hit.language,
        modified=hit.modified,
    )
