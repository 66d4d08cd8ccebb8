"""From a ranked list of passages in a store to the evidence a step hands on."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.contracts import Missing
from shared.report import Evidence
from workers.index import store
from workers.index.excerpts import excerpt
from workers.index.ranking import Question, Ranked


def counted(number: int, noun: str) -> str:
    """`1 document`, `1,200 documents`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Found:
    """What a provider found: `searched` in words a reader understands, `missing` what could not be had."""

    evidence: list[Evidence]
    searched: str
    notes: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


def evidence(
    connection: sqlite3.Connection, hits: Sequence[Ranked], asked: Question, weights: Mapping[str, float], provider: str
) -> list[Evidence]:
    """Each passage with its excerpt, the anchor nearest above it, and an id made from place and text."""
    return [_evidence(connection, each, asked, weights, provider) for each in hits]


def _evidence(
    connection: sqlite3.Connection, each: Ranked, asked: Question, weights: Mapping[str, float], provider: str
) -> Evidence:
    hit = each.hit
    said = excerpt(store.marked(connection, asked.query, hit), weights, hit.anchors)
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
