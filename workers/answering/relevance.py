"""How well a statement answers a question: shared words weighed by how much they say, and the shape of the question."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.report import Evidence
from workers.answering import shapes, synonyms, text, words
from workers.answering.text import Sentence

ENOUGH = 0.45  # the share of the question's weight a statement (with its heading) must hold to be a finding
ENOUGH_WEIGHT = 2.2  # of a long question this much is enough
SHOWS = 0.1  # for code that a "how do I" is answered with
IN_CODE = 0.6  # what a word loses that stands in an identifier only: "envelope_refused" is not about envelopes
OPENS = 0.12  # for the first sentence below a heading that holds all of the question
ASKED = 0.12  # for what stands below a heading that asks the question
BARE = 0.2  # the share the statement itself must hold
HELD = 0.5  # the share, by what words are worth among these passages, that a finding and its heading must hold
EVERYWHERE = 0.7  # a name in more than this share of the passages, and in three documents, tells nothing apart

NAME = 1.4  # the weight of a name
TELLING = 0.8  # of words that any manual has, but nobody puts in a question by the way
_TELLING = "default port version order support"
_DO = re.compile(
    r"^how (?:to|(?:do|can|should) (?:i|you|we|one)) (?!(?:use|get|make|do|work|know|find|need)\b)(\w+)", re.IGNORECASE
)
_THINGS = """
protocol server client function method module class library option command format algorithm package tool framework
standard
"""


_BARE_VERB = re.compile(
    r"(?:Returns?|Create|Remove|Raises?|Same|Get|Gets|Sets?|Returned|If not|Note) "
)  # of what, it does not say
_OLD = re.compile(r"\bversions? \d|\bprior to\b|\blegacy\b|\bdeprecated\b|\bPython 2\b|\bformerly\b", re.IGNORECASE)
_IDENTIFIER = re.compile(r"\w+[._]\w[\w.]*(?:\(\))?|\w+\(\)|\w*[a-z][A-Z]\w*")


@dataclass(frozen=True)
class Question:
    """A question's words with their weights: 0.35 for words any manual has, 1 for others, 1.4 (`NAME`) for names."""

    text: str
    weights: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.weights.values()) or 1.0

    @property
    def is_list(self) -> bool:
        """Whether it asks for several matters ("... : storage, limits and ports"), one of which is enough."""
        return self.total > 4 and self.text.count(",") > 1

    @property
    def is_open(self) -> bool:
        """Whether it names no matter at all ("Summarise these documents"), so that any statement may answer it."""
        return max(self.weights.values(), default=0.0) < TELLING


@dataclass(frozen=True)
class Statement:
    """A sentence with where it stands and what its words mean; `said` leaves out what stands in identifiers only."""

    sentence: Sentence
    evidence: Evidence
    place: str  # its document
    stems: frozenset[str]
    said: frozenset[str]


@dataclass(frozen=True)
class Ranked:
    """A statement with how well it answers: `score` orders, `coverage` is the share of the question it holds."""

    sentence: Sentence
    evidence: Evidence
    score: float
    coverage: float
    bare: float  # the share held by the statement itself, without its heading
    held: float  # the share it holds with its heading, where words that nearly every statement has count less
    stems: frozenset[str]

    def is_answer(self, question: Question) -> bool:
        """Whether this and its heading hold most of the question, as far as its words tell these passages apart."""
        return question.is_open or (self.touches(question) and self.held >= min(HELD, _enough(question) + 0.05))

    def touches(self, question: Question) -> bool:
        """Whether this holds more of the question than a stray common word: enough where nothing answers."""
        if question.is_open:
            return True
        enough = _enough(question)
        met = [question.weights[s] for s in self.stems if s in question.weights]
        return (
            self.coverage >= enough
            and self.bare >= min(BARE, enough)
            and max(met, default=0) >= min(1.0, max(question.weights.values()))
        )


def question(asked: str) -> Question:
    """The words of a question that carry meaning.

    A name is capitalised inside the question, or stands before a common noun ("the zorblatt protocol"); of an
    identifier with dots the last part counts, and the others little.
    """
    common = words.common_stems()
    telling = frozenset(words.terms(_TELLING))
    things = frozenset(words.terms(_THINGS))
    weights: dict[str, float] = {}
    done = words.terms(action[1]) if (action := _DO.match(asked)) else []
    written = re.findall(r"[^\s?,;:!()\"]+", words.joined(asked))
    for place, word in enumerate(written):
        after = words.terms(written[place + 1]) if place + 1 < len(written) else []
        named = (place > 0 and word[0].isupper()) or any(c.isdigit() or c == "_" for c in word)
        named = named or (place > 0 and bool(things.intersection(after[:1])) and word.lower() not in common)
        if options := words.options(word):
            weights |= dict.fromkeys(options, NAME)
        stems_ = words.terms(word)
        for part, stem in enumerate(stems_):
            weight = (
                TELLING
                if stem in telling or (stem in done and stem in common)
                else 0.35
                if stem in common
                else NAME
                if named
                else 1.0
            )
            if options or ("." in word.strip(".") and part < len(stems_) - 1):
                weight = 0.3
            stem = synonyms.meaning(stem)
            weights[stem] = max(weight, weights.get(stem, 0))
    weights |= dict.fromkeys(words.named(asked), NAME)
    return Question(asked, weights)


def known(asked: Question, statements: Iterable[Statement]) -> Question:
    """The question, knowing what the passages have.

    Names that no statement has weigh half as much again: without them there is no answer. A name that nearly every
    passage has, as manuals name their product, weighs as little as a common word.
    """
    passages: dict[str, set[str]] = defaultdict(set)
    documents: dict[str, set[str]] = defaultdict(set)
    ids, held = set(), set()
    for one in statements:
        ids.add(one.evidence.id)
        for stem in one.stems & asked.weights.keys():
            held.add(stem)
            passages[stem].add(one.evidence.id)
            documents[stem].add(one.place)
    names = {s for s, w in asked.weights.items() if w == NAME}
    everywhere = {s for s in names if len(documents[s]) > 2 and len(passages[s]) > EVERYWHERE * len(ids)}
    if all(w < 1 or s in everywhere for s, w in asked.weights.items()):
        everywhere = set()  # it is what is asked for
    weight = {s: 0.35 if s in everywhere else w * 1.5 if s in names - held else w for s, w in asked.weights.items()}
    return Question(asked.text, weight)


def statement(sentence: Sentence, evidence: Evidence, place: str) -> Statement:
    """A sentence of a passage of the document `place`, read once for all questions."""
    held = stems(sentence.text)
    prose, identifiers = _IDENTIFIER.subn(" ", sentence.text)
    return Statement(sentence, evidence, place, held, stems(prose) if identifiers else held)


def rank(asked: Question, statements: Sequence[Statement]) -> list[Ranked]:
    """Statements by how well they answer, best first."""
    if asked.is_open:
        return _central(statements)
    local = _local(asked, statements)
    total_local = sum(local.values()) or 1.0
    shape = shapes.shape(asked.text, asked.weights)
    above = {e.id: stems(f"{e.title} {e.heading}") for e in {s.evidence.id: s.evidence for s in statements}.values()}
    around: dict[str, set[str]] = defaultdict(set)
    for one in statements:
        around[one.place].update(one.stems & asked.weights.keys())
    how_to = re.match(r"how (?:to|do|can|should)\b", asked.text, re.IGNORECASE) is not None
    of_code = _IDENTIFIER.search(asked.text) is not None
    versioned = re.search(r"\d|version|deprecat|old", asked.text) is not None
    ranked: list[Ranked] = []
    for one in statements:
        met = asked.weights.keys() & one.stems
        if not met:
            continue
        beside = (asked.weights.keys() & above[one.evidence.id]) - met
        near = around[one.place] - met - beside
        weight, value = asked.weights.__getitem__, local.__getitem__
        bare = sum(map(weight, met)) / asked.total
        coverage = bare + (0.6 * sum(map(weight, beside)) + 0.2 * sum(map(weight, near))) / asked.total
        held = (sum(map(value, met)) + 0.65 * sum(map(value, beside))) / total_local
        score = held + 0.2 * sum(map(value, near)) / total_local
        if not of_code:
            held -= IN_CODE * sum(map(value, met - one.said)) / total_local
        score -= 0.4 * sum(map(weight, met - one.said)) / asked.total
        score += shape.bonus(one.sentence.text) + SHOWS * (how_to and one.sentence.code != "")
        in_title = asked.weights.keys() & above[one.evidence.id]
        score += ASKED * ("?" in one.evidence.heading and sum(map(weight, in_title)) > 0.7 * asked.total)
        score += OPENS * (one.sentence.position == 0) * sum(map(weight, in_title)) / asked.total
        score -= 0.06 * (not versioned and _OLD.search(one.sentence.text) is not None)
        score += 0.15 * max(0.0, min(1.0, one.evidence.score)) + _manner(one.sentence)
        score -= 0.08 * (not how_to and text.commands(one.sentence.text))
        ranked.append(Ranked(one.sentence, one.evidence, score, coverage, bare, held, one.stems))
    return sorted(ranked, key=lambda r: -r.score)


def _enough(asked: Question) -> float:
    return min(ENOUGH, (1.0 if asked.is_list else ENOUGH_WEIGHT) / asked.total)


def _manner(sentence: Sentence) -> float:
    """What the way a statement is written adds or takes away, whatever the question."""
    value = 0.04 * (sentence.position == 0) - 0.05 * (not sentence.alone)
    value -= 0.3 * text.points_elsewhere(sentence) + 0.12 * (
        _BARE_VERB.match(sentence.text) is not None or text.lacks_subject(sentence.text)
    )
    return value - 0.03 * max(0.0, len(sentence.text) / 100 - 1.6) - 0.06 * (len(sentence.text) < 35)


def _central(statements: Sequence[Statement]) -> list[Ranked]:
    """For a question without matter: statements by how much of their vocabulary the others share."""
    seen = Counter(stem for one in statements for stem in one.stems)
    ranked = [
        Ranked(
            one.sentence,
            one.evidence,
            min(1.0, sum(seen[s] > 1 for s in one.stems) / (len(one.stems) + 3)) + _manner(one.sentence),
            0.5,
            0.5,
            0.5,
            one.stems,
        )
        for one in statements
    ]
    return sorted(ranked, key=lambda r: -r.score)


def stems(written: str) -> frozenset[str]:
    """The meanings of a text's words."""
    return frozenset(synonyms.meaning(term) for term in words.terms(written)).union(words.options(written))


def _local(asked: Question, statements: Sequence[Statement]) -> dict[str, float]:
    """The question's weights, less for words that nearly every statement at hand has."""
    seen = Counter(s for one in statements for s in one.stems if s in asked.weights)
    top = math.log(2 + len(statements))
    return {
        s: w * (0.5 + 0.5 * math.log((2 + len(statements)) / (1 + seen[s])) / top) for s, w in asked.weights.items()
    }
