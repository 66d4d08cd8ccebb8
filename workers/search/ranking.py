"""Which passages answer a question: its words, what they weigh, and what a reader would call noise."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workers.search import store
from workers.search.store import Hit, Scope

MAX_TERMS = 40
OF_ONE_PAGE = 3  # passages among the first eight
FIRST = 8
NOISE = 0.4  # hits with a smaller share of the best hit's score are not shown
THIN = 0.34  # a best hit that covers less of the question than this is no answer
ASIDE = 0.6  # what a change log's or an index's score is worth beside an explanation's

_STOP = (
    "a about after all also am an and any are as at be because been before being between both but by can could did do"
    " does doing don during each few for from further get gets getting give given had has have having he her here hers"
    " him his how i if in into is it its itself just let like made make makes making me more most my need needs no nor"
    " not of off on once only or other our out over own please same she should so some such tell than that the their"
    " them then there these they this those through to too under until up us use used uses using very want wants was"
    " way we were what when where which while who whom why will with would you your"
)
STOP = frozenset(_STOP.split())
_WORD = re.compile(r"\w+")
_ASIDE = re.compile(
    r"change ?log|changes?$|what.?s new|release notes|history|news|index|table of contents|contents|glossary|license"
    r"|licence|copyright|credits|acknowledg|bibliography|references|authors?$|deprecat|whatsnew",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Ranked:
    """A hit with its `score` from 0 to 1: how much of the question it covers, against the best."""

    hit: Hit
    score: float
    coverage: float


@dataclass(frozen=True)
class Ranking:
    """All passages worth a look, best first. `weights`: what each word is worth; `unknown`: words nothing has."""

    hits: tuple[Ranked, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """A question as words: `terms` without stop words, and the FTS5 query that asks for any of them."""

    text: str
    terms: tuple[str, ...]

    @property
    def query(self) -> str:
        return " OR ".join(f'"{term}"' for term in self.terms)


def question(text: str) -> Question:
    """The words worth asking for; of a question of stop words only, all of them; of none, nothing.

    Raw text must not reach FTS5: `C++`, `AND`, `a-b` and `x.y` are syntax to it.
    """
    words = list(dict.fromkeys(_WORD.findall(text.lower())))
    terms = [word for word in words if word not in STOP and (len(word) > 1 or word.isdigit())] or words
    return Question(text, tuple(terms[:MAX_TERMS]))


def rank(connection: sqlite3.Connection, asked: Question, scope: Scope) -> Ranking:
    """Ranks the passages of the scope for the question: the same list in every process and for every limit."""
    if not asked.terms:
        return Ranking()
    hits = _distinct(store.ranked(connection, asked.query, scope))
    total = store.counts(connection, Scope())[1]
    having = {term: store.with_term(connection, term) for term in asked.terms}
    weights = {term: math.log(1 + total / (1 + len(ids))) for term, ids in having.items()}
    unknown = tuple(term for term, ids in having.items() if not ids)
    best = max((hit.bm25 for hit in hits), default=0.0)
    found: list[Ranked] = []
    for hit in hits:
        coverage = sum(weights[term] for term, ids in having.items() if hit.id in ids) / sum(weights.values())
        score = coverage * math.sqrt(hit.bm25 / best) if best > 0 else coverage
        if _aside(hit) and not _ASIDE.search(asked.text):
            score *= ASIDE
        found.append(Ranked(hit, round(score, 3), coverage))
    return Ranking(tuple(sorted(found, key=lambda each: -each.score)), weights, unknown)


def own(ranked: Sequence[Ranked], others: Sequence[tuple[int, Sequence[Ranked]]], index: int) -> list[Ranked]:
    """What is left when each passage goes to the question that ranks it best; ties go to the lower index."""
    best: dict[str, tuple[int, int]] = {}
    for other, list_ in others:
        for place, each in enumerate(list_):
            best[each.hit.body] = min(best.get(each.hit.body, (place, other)), (place, other))
    return [each for place, each in enumerate(ranked) if (place, index) <= best.get(each.hit.body, (place, index))]


def chosen(ranked: Sequence[Ranked], limit: int) -> list[Ranked]:
    """At most `limit`, best first, without noise, and at most three of one page among the first eight."""
    if not ranked:
        return []
    floor = ranked[0].score * NOISE
    first: list[Ranked] = []
    later: list[Ranked] = []
    of_page: dict[str, int] = {}
    for each in ranked:
        if each.score < floor or each.score <= 0:
            continue
        of_page[each.hit.path] = of_page.get(each.hit.path, 0) + 1
        full = of_page[each.hit.path] > OF_ONE_PAGE
        (later if full else first).append(each)
    cut = first[:FIRST]
    if len(cut) == FIRST:
        cut += sorted(first[FIRST:] + later, key=lambda each: -each.score)
    return cut[:limit]


def thin(ranking: Ranking, asked: Question) -> bool:
    """Whether even the best hit says too little about a question of several words."""
    return len(asked.terms) >= 3 and max((each.coverage for each in ranking.hits), default=1.0) < THIN


def _distinct(hits: list[Hit]) -> list[Hit]:
    """Without repeats of the same text on other pages."""
    seen: dict[str, Hit] = {}
    for hit in hits:
        seen.setdefault(hit.body, hit)
    return list(seen.values())


def _aside(hit: Hit) -> bool:
    last = hit.heading.rsplit(" › ", 1)[-1]
    return bool(_ASIDE.search(last) or _ASIDE.search(hit.title))
