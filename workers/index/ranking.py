"""Which passages answer a question, by its words, their weights, and the question's language."""

from __future__ import annotations

import math
import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shared.report.model import AskedWord
from workers.index import spelling, store
from workers.index.sketch import hashes, same
from workers.index.store import Hit, Scope
from workers.language.classes import names_a_class
from workers.language.languages import language_of
from workers.language.questions import MAX_PARTS, Word, content
from workers.language.text import normalize

MAX_WORDS = 40
MAX_UNKNOWN = 8  # words that are looked for in another spelling: each costs up to 20 ms in 200,000 known words
OF_ONE_PAGE = 3  # passages among the first eight
FIRST = 8
CROWDED = 0.6  # what covers a smaller share of what another covers does not take the place of that one
COVERED = 0.3  # of a passage's worth, what the share of the question that it holds decides
FOREIGN = 0.8  # what a passage in another language than the question's is worth
APART = 5  # terms between the parts of a word: "back the database up" for a backup
NOISE = 0.3  # passages that are worth a smaller share of the best are not shown

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class SearchedQuestion:
    """A question as it is searched: its words, and for each what it weighs and how many passages have it."""

    text: str
    language: str
    words: tuple[Word, ...] = ()
    weights: tuple[AskedWord, ...] = ()


@dataclass(frozen=True)
class Ranked:
    """A hit with its `score` from 0 to 1, and the share of the question's words, by weight, that it holds.

    The best hit's score is the share that it holds: all scores are low where the evidence is thin.
    """

    hit: Hit
    score: float
    coverage: float


@dataclass(frozen=True)
class Ranking:
    """The passages worth a look, best first, and the question as it was searched."""

    asked: SearchedQuestion
    hits: tuple[Ranked, ...] = ()


def rank(connection: sqlite3.Connection, question: str, scope: Scope) -> Ranking:
    """Ranks the passages of the scope for the question: the same list in every process and for every limit.

    A passage is worth its bm25 over title, heading and text, for any of the words in any of their forms; less where it
    holds a part of the question only, and less in another language than the question's. What a word weighs is counted
    over the whole index.
    """
    text = normalize(question)
    language = language_of(text)
    languages = [each for each in store.languages(connection) if each]
    total = store.counts(connection, Scope())[1]
    words: list[Word] = []
    weights: list[AskedWord] = []
    having: list[set[int]] = []
    plain = content(text, language, languages)[:MAX_WORDS]
    ids = [store.matching(connection, _query([word])) for word in plain]
    for at, word in enumerate(plain):
        instead: list[Word] = []
        if not ids[at] and sum(not other for other in ids[:at]) < MAX_UNKNOWN:
            company = set().union(*(other for other in ids if other))
            instead = _instead(connection, word, text, language, languages, company)
        for searched in instead or [word]:
            there = store.matching(connection, _query([searched])) if instead else ids[at]
            nothing = not there and (names_a_class(word.text) or _crosses(plain, ids, at))
            weight = 0.0 if nothing else math.log(1 + total / (1 + len(there)))
            other = searched.text if instead else ""
            words.append(searched)
            having.append(there)
            weights.append(AskedWord(word=word.text, searched=other, weight=round(weight, 3), passages=len(there)))
    asked = SearchedQuestion(text, language, tuple(words), tuple(weights))
    if not any(having):
        return Ranking(asked)
    return Ranking(asked, tuple(_rank(connection, asked, having, scope)))


def _rank(
    connection: sqlite3.Connection, asked: SearchedQuestion, having: Sequence[set[int]], scope: Scope
) -> list[Ranked]:
    sum_of_weights = sum(word.weight for word in asked.weights) or 1.0

    def coverage(hit: Hit) -> float:
        held = (word.weight for word, ids in zip(asked.weights, having, strict=True) if hit.id in ids)
        return sum(held) / sum_of_weights

    def worth(hit: Hit) -> float:
        foreign = asked.language and hit.language and hit.language != asked.language
        return max(hit.bm25, 1e-9) * (1 - COVERED + COVERED * coverage(hit)) * (FOREIGN if foreign else 1.0)

    hits = store.search(connection, _query(asked.words), scope)
    hits = _distinct(connection, sorted(hits, key=lambda hit: (-worth(hit), hit.path, hit.id)))
    if not hits:
        return []
    best = worth(hits[0])
    most = coverage(hits[0])
    return [Ranked(hit, round(most * worth(hit) / best, 3), coverage(hit)) for hit in hits]


def own(ranked: Sequence[Ranked], others: Sequence[tuple[int, Sequence[Ranked]]], index: int) -> list[Ranked]:
    """What is left when each passage goes to the question that ranks it best; ties go to the lower index."""
    best: dict[str, tuple[int, int]] = {}
    for other, list_ in others:
        for place, each in enumerate(list_):
            best[each.hit.body] = min(best.get(each.hit.body, (place, other)), (place, other))
    return [each for place, each in enumerate(ranked) if (place, index) <= best.get(each.hit.body, (place, index))]


def select(ranked: Sequence[Ranked], limit: int) -> list[Ranked]:
    """At most `limit`, best first, without those far below the best; at most three of one page among the first eight,
    unless the others are too few or cover far less of the question.
    """
    ranked = [each for each in ranked if each.score >= NOISE * ranked[0].score]
    of_page: Counter[str] = Counter()
    crowding: list[Ranked] = []
    for each in ranked:
        of_page[each.hit.path] += 1
        if of_page[each.hit.path] > OF_ONE_PAGE:
            crowding.append(each)
    enough = CROWDED * max((each.coverage for each in crowding), default=0.0)
    first = [each for each in ranked if each not in crowding and each.coverage >= enough][:FIRST]
    rest = [each for each in ranked if each not in first]
    filling = rest[: FIRST - len(first)]
    return [*sorted([*first, *filling], key=_score), *rest[len(filling) :]][:limit]


def _query(words: Sequence[Word]) -> str:
    """The FTS5 query that asks for any of the words. Terms are quoted: `C++`, `AND` and `x.y` are syntax to it."""
    forms = [f'"{form}"' for word in words for form in sorted(word.forms)]
    together = [" ".join(f'"{part}"' for part in parts) for word in words for parts in word.parts]
    return " OR ".join(dict.fromkeys([*forms, *(f"NEAR({each}, {APART})" for each in together)]))


def _instead(
    connection: sqlite3.Connection,
    word: Word,
    text: str,
    language: str,
    languages: Sequence[str],
    company: set[int],
) -> list[Word]:
    """What is searched for a word that no passage has: a word near it, or the words that it is made of.

    Of words near it the one that most passages have, if it is next to another word of the question in one of them.
    """
    hyphened = "-" in word.text.strip("-")
    parts = word.text.split("-")[:MAX_PARTS] if hyphened else spelling.split_compound(connection, word.text) or ()
    name = language != "de" and word.text[:1].isupper() and not text.lstrip("¿¡\"' ").startswith(word.text)
    near = [] if name else spelling.near(connection, word.text)[:5]
    found = [
        (other, store.matching(connection, _query([other])))
        for each in near
        for other in _words(each, language, languages)
    ]
    beside = [(len(there), other) for other, there in found if there and (not company or there & company)]
    if beside:
        return [max(beside, key=lambda each: each[0])[1]]
    made_of = [other for part in parts for other in _words(part, language, languages)]
    return [other for other in made_of if store.matching(connection, _query([other]))]


def _words(text: str, language: str, languages: Sequence[str]) -> list[Word]:
    return content(text, language, languages)[:1]


def _crosses(words: Sequence[Word], ids: Sequence[set[int]], at: int) -> bool:
    """Whether an unknown pair of characters only joins two words: 库备 of 数据库备份 is none."""
    before = at > 0 and words[at - 1].text[-1:] == words[at].text[:1] and bool(ids[at - 1])
    after = at + 1 < len(words) and words[at].text[-1:] == words[at + 1].text[:1] and bool(ids[at + 1])
    return len(words[at].text) == 2 and not words[at].text.isascii() and (before or after)


def _distinct(connection: sqlite3.Connection, hits: Sequence[Hit]) -> list[Hit]:
    """Without repeats of one text, and of documents that say the same (another format, a copy) only the best.

    A copy that has a number which the shown one lacks stays: it may be what differs.
    """
    shown: dict[int, frozenset[int]] = {}
    twins: dict[int, set[str]] = {}  # a page that another is shown for, and the numbers that this one has
    texts: set[str] = set()
    kept: list[Hit] = []
    for hit in hits:
        if hit.page not in shown and hit.page not in twins:
            sketch = hashes(hit.sketch)
            twin = next((page for page, other in shown.items() if same(sketch, other)), None)
            if twin is None:
                shown[hit.page] = sketch
            else:
                twins[hit.page] = set(_NUMBER.findall(store.text_of(connection, twin)))
        plain = _SPACE.sub(" ", hit.body).lower()
        if plain in texts or (hit.page in twins and twins[hit.page].issuperset(_NUMBER.findall(hit.body))):
            continue
        texts.add(plain)
        kept.append(hit)
    return kept


def _score(each: Ranked) -> float:
    return -each.score
