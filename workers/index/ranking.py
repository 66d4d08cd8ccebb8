"""Which passages answer a question: its words, what they weigh, and what a reader would call noise."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from workers.answering import synonyms, words
from workers.index import store
from workers.index.store import Hit, Scope
from workers.reading.document import CODE

MAX_TERMS = 40
OF_ONE_PAGE = 3  # passages among the first eight
FIRST = 8
NOISE = 0.2  # hits that are worth a smaller share of the best hit are not shown
LITTLE = 0.4  # nor are hits that have a smaller share of what the best hits have of the question
TOP = 3  # hits that tell how much of the question is covered at all
SHARES = (1.0, 0.7, 0.5, 0.3, 0.2)  # what a page's passages count for it, best first
BARE_COST = 0.4  # what a passage that is all code or labels loses against prose,
BARE_COST_HOW_TO = 0.1  # and where an example is an answer
LABEL = 100  # characters
ENDS = ".!?:;…)\"'”’"
NEAR_BEST = 0.3  # a hit with a smaller share of the best score than this only fills a place
THIN = 0.34  # a best hit that covers less of the question than this is no answer
DEFINES = 1.5  # what a passage is worth more that says what the thing asked for is
RELATED = 0.3  # of a passage's worth, what it is worth for the question with related words beside its own
NAMED = 0.3  # what a passage is worth more whose heading is what the question is about,
EXACTLY = 1.0  # or says just that,
ASKED = 2.0  # and whose heading asks it: an answer in a list of frequent questions
CROWDED = 0.6  # a passage that covers a smaller share of what another covers does not take the place of that one
ASIDE = 0.6  # what a change log's or an index's score is worth beside an explanation's

_STOP = (
    "a about after all also am an and any are as at be because been before being between both but by can could did do"
    " does doing don during each few for from further get gets getting give given had has have having he her here hers"
    " him his how i if in into is it its itself just let like made make makes making me more most my need needs no nor"
    " not of off on once only or other our out over own please same she should so some such tell than that the their"
    " them then there these they this those through to too under until up us use used uses using very want wants was"
    " way we were what when where which while who whom why will with would you your"
    " happen happens mean means say says somebody someone something"
    " isn aren doesn didn wasn weren won wouldn couldn shouldn hasn haven"
)
STOP = frozenset(_STOP.split())
_WORD = re.compile(r"\d+(?:\.\d+)+|\w+")  # "3.11" asked for in quotes is a phrase to FTS5
_SHORT = re.compile(r"\(([^()]+)\)")  # "Write-Ahead Logging (WAL)" has two names
_QUOTED = re.compile(r"[\"'`\u201c\u2018](\w+)[\"'`\u201d\u2019](?!\w)")
_ENDING = re.compile(r"(?<=\w)['’](?:s|t|d|m|re|ve|ll)\b")
_ASIDE = re.compile(
    r"change ?log|changes?$|what.?s new|release notes|history|news|index|table of contents|contents|glossary|license"
    r"|licence|copyright|credits|acknowledg|bibliography|references|authors?$|deprecat|whatsnew",
    re.IGNORECASE,
)
_DEFINED = re.compile(
    r"^what (?:is|are|was|were) (?:an? |the )?((?:[\w-]+ ){0,2}[\w-]+)(?: for)?\s*\?*$|"
    r"^what (?:does|do) (?:an? |the )?([^?,]+?)"
    r"(?: (?:option|setting|parameter|command|function|method|statement|keyword|clause|flag|variable|module))?"
    r"(?: (?:of|to|in) \w+)? (?:do|mean|set|control|specify)\s*\?*$",
    re.IGNORECASE,
)
_HOW_TO = re.compile(r"how (?:to|do|can|should)\b", re.IGNORECASE)
_ASIDE_FILE = re.compile(
    r"(?:^|/)(?:licen[cs]e|copying|l?gpl|changes|changelog|history|news|authors|notice|contents)[^/]*$", re.IGNORECASE
)


@dataclass(frozen=True)
class Ranked:
    """A hit with its `score` from 0 to 1, and the share of the question's words, by weight, that it has.

    The best hit's score is the share that the best hits have: all scores are low where the evidence is thin.
    """

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
        return _any(form for term in self.terms for form in _forms(term))

    @property
    def wider(self) -> str:
        """The query that asks for related words, too; as `query` where there are none."""
        others = [other for term in self.terms for other in synonyms.related(term)]
        return " OR ".join(dict.fromkeys([self.query, *([_any(others)] if others else [])]))


def question(text: str) -> Question:
    """The words worth asking for; of a question of stop words only, all of them; of none, nothing.

    Raw text must not reach FTS5: `C++`, `AND`, `a-b` and `x.y` are syntax to it.
    """
    plain = _ENDING.sub("", words.joined(text.lower()))
    asked = list(dict.fromkeys(_WORD.findall(plain)))
    meant = {*words.named(plain), *_QUOTED.findall(plain)}
    terms = [word for word in asked if word not in STOP or word in meant] or asked
    return Question(text, tuple(terms[:MAX_TERMS]))


def _forms(term: str) -> list[str]:
    return [term, verb] if (verb := words.parted(term)) else [term]


def _any(terms: Iterable[str]) -> str:
    return " OR ".join(f'"{term}"' for term in terms)


def rank(connection: sqlite3.Connection, asked: Question, scope: Scope) -> Ranking:
    """Ranks the passages of the scope for the question: the same list in every process and for every limit.

    A passage is worth its bm25, less for code, change logs and the like, times what its page is worth: its five
    best passages, each counting less. On 48 everyday questions to two documentations this, and cuts where a
    definition begins, raised first places from 25 to 31 and right pages among the first three from 35 to 41;
    half of that may be luck, as the settings were chosen on the same questions.
    """
    if not asked.terms:
        return Ranking()
    hits = _distinct(_found(connection, asked, scope))
    total = store.counts(connection, Scope())[1]
    having = {term: {id_ for form in _forms(term) for id_ in store.with_term(connection, form)} for term in asked.terms}
    weights = {term: math.log(1 + total / (1 + len(ids))) for term, ids in having.items()}
    unknown = tuple(term for term, ids in having.items() if not ids)
    own = _own(hits, asked, about_asides=bool(_ASIDE.search(asked.text)))
    stems = {stem: weights[term] for term in asked.terms for stem in words.terms(term) or [term]}
    by_id = {hit.id: hit for hit in hits}
    worth = {id_: value * (1 + _named(by_id[id_], stems)) for id_, value in _with_page(hits, own).items()}
    hits.sort(key=lambda hit: -worth[hit.id])
    coverage = {
        hit.id: sum(weights[term] for term, ids in having.items() if hit.id in ids) / sum(weights.values())
        for hit in hits
    }
    most = max((coverage[hit.id] for hit in hits[:TOP]), default=0.0)
    found = [
        Ranked(hit, round(most * math.sqrt(worth[hit.id] / worth[hits[0].id]), 3), coverage[hit.id])
        for hit in hits
        if own[hit.id] >= NOISE * max(own.values()) and coverage[hit.id] >= LITTLE * most
    ]
    return Ranking(tuple(found), weights, unknown)


def _found(connection: sqlite3.Connection, asked: Question, scope: Scope) -> list[Hit]:
    """Passages with the question's words, and for a smaller part of their worth those with related words."""
    hits = store.ranked(connection, asked.query, scope)
    if asked.wider == asked.query:
        return hits
    wider = {hit.id: hit for hit in store.ranked(connection, asked.wider, scope)}
    exact = {hit.id: hit for hit in hits}
    both = [
        replace(
            hit,
            bm25=(1 - RELATED) * (exact[id_].bm25 if id_ in exact else 0.0)
            + RELATED * (wider[id_].bm25 if id_ in wider else 0.0),
        )
        for id_, hit in (exact | wider).items()
    ]
    return sorted(both, key=lambda hit: (-hit.bm25, hit.path, hit.id))


def _own(hits: Sequence[Hit], asked: Question, *, about_asides: bool) -> dict[int, float]:
    definition = _definition(asked.text)
    bare_cost = BARE_COST_HOW_TO if _HOW_TO.match(asked.text.strip()) else BARE_COST

    def worth(hit: Hit) -> float:
        if definition and definition.search(hit.body):
            return DEFINES
        return (1 - bare_cost * _bare(hit)) * (ASIDE if _aside(hit) and not about_asides else 1)

    return {hit.id: max(hit.bm25, 1e-9) * worth(hit) for hit in hits}


def _named(hit: Hit, asked: Mapping[str, float]) -> float:
    """What the heading adds: how far it is the question, which is what it holds of it, times what of it that is."""
    heading = hit.heading.rsplit(" \u203a ", 1)[-1] or hit.title
    names = {heading, _SHORT.sub(" ", heading), *_SHORT.findall(heading)}
    share = max(_overlap(set(words.terms(name)), asked) for name in names)
    return (ASKED if "?" in heading and share > 0.5 else EXACTLY if share > 0.9 else NAMED) * share


def _overlap(name: set[str], asked: Mapping[str, float]) -> float:
    name = {stem for stem in name if not stem[0].isdigit()}
    met = name & asked.keys()
    return sum(asked[stem] for stem in met) / sum(asked.values()) * len(met) / len(name) if met else 0.0


def _definition(asked: str) -> re.Pattern[str] | None:
    """For "What is a lease?": how a sentence begins that says so, "A lease is the", also "Long Name (LN) is a".

    For "What does --amend do?": "--amend — Replace".
    """
    if not (thing := _DEFINED.match(asked.strip())):
        return None
    wanted = thing[1] or (words.options(thing[2]) or [thing[2]])[-1]
    name = re.escape(wanted).replace(r"\ ", "[ -]")
    last = re.escape(wanted.rsplit(".", 1)[-1])  # `path.join` in its own page is `join`
    return re.compile(
        rf"(?:^|\n)(?:[^\u2014\n]{{1,60}}, )?(?:{name}|{last})(?:\(\))?(?:, [^\u2014\n]{{1,60}})? [\u2014-] |"
        rf"(?:^|\n|[.:] )(?:an? |the )?(?:{name}s?|[\w -]{{3,60}} \({name}s?\)|{name}s? \([^)]{{3,60}}\)),? "
        r"(?:is|are|means|refers to|stands for|allows?) (?:an? |the |used |to )?",
        re.IGNORECASE,
    )


def _with_page(hits: Sequence[Hit], own: Mapping[int, float]) -> dict[int, float]:
    pages: dict[str, list[float]] = {}
    for hit in hits:
        pages.setdefault(hit.path, []).append(own[hit.id])
    strength = {
        path: sum(share * worth for share, worth in zip(SHARES, sorted(worths, reverse=True), strict=False))
        for path, worths in pages.items()
    }
    return {hit.id: own[hit.id] * strength[hit.path] for hit in hits}


def own(ranked: Sequence[Ranked], others: Sequence[tuple[int, Sequence[Ranked]]], index: int) -> list[Ranked]:
    """What is left when each passage goes to the question that ranks it best; ties go to the lower index."""
    best: dict[str, tuple[int, int]] = {}
    for other, list_ in others:
        for place, each in enumerate(list_):
            best[each.hit.body] = min(best.get(each.hit.body, (place, other)), (place, other))
    return [each for place, each in enumerate(ranked) if (place, index) <= best.get(each.hit.body, (place, index))]


def chosen(ranked: Sequence[Ranked], limit: int) -> list[Ranked]:
    """At most `limit`, best first, without those far below the best; at most three of one page among the first eight,
    unless the others are too few or cover far less of the question.
    """
    ranked = [each for each in ranked if each.score >= NEAR_BEST * ranked[0].score]
    first: list[Ranked] = []
    later: list[Ranked] = []
    of_page: dict[str, int] = {}
    for each in ranked:
        of_page[each.hit.path] = of_page.get(each.hit.path, 0) + 1
        full = of_page[each.hit.path] > OF_ONE_PAGE
        (later if full else first).append(each)
    if later:
        covered = CROWDED * later[0].coverage
        later = sorted(later + [each for each in first if each.coverage < covered], key=_score)
        first = [each for each in first if each.coverage >= covered]
    if len(first) < FIRST:
        return sorted(first + later[: max(0, FIRST - len(first))], key=_score)[:limit]
    return (first[:FIRST] + sorted(first[FIRST:] + later, key=_score))[:limit]


def thin(ranking: Ranking, asked: Question) -> bool:
    """Whether even the best hit says too little about a question of several words."""
    return len(asked.terms) >= 3 and max((each.coverage for each in ranking.hits), default=1.0) < THIN


def _score(each: Ranked) -> float:
    return -each.score


def _distinct(hits: list[Hit]) -> list[Hit]:
    """Without repeats of the same text on other pages; of a page in two formats (`a.html`, `a.txt`) only the first."""
    seen: dict[str, Hit] = {}
    formats: dict[str, str] = {}
    for hit in sorted(hits, key=lambda hit: hit.path):
        formats.setdefault(hit.path.rsplit(".", 1)[0], hit.path)
    for hit in hits:
        if formats[hit.path.rsplit(".", 1)[0]] == hit.path:
            seen.setdefault(hit.body, hit)
    return list(seen.values())


def _aside(hit: Hit) -> bool:
    last = hit.heading.rsplit(" › ", 1)[-1]
    return bool(_ASIDE.search(last) or _ASIDE.search(hit.title) or _ASIDE_FILE.search(hit.path))


def _bare(hit: Hit) -> float:
    """The share of code, labels and signatures in a passage, from 0 to 1: what is no sentence."""
    blocks = hit.body.split("\n\n")
    bare = (len(block) for block in blocks if block.startswith(CODE) or (len(block) < LABEL and block[-1:] not in ENDS))
    return sum(bare) / max(1, sum(len(block) for block in blocks))
