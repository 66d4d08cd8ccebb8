"""How well a statement answers a question: shared words weighed by how much they say, and the shape of the question."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.report import Evidence
from workers import synonyms, text
from workers.text import Sentence

ENOUGH = 0.45  # the share of the question's weight a statement (with its heading) must hold to be a finding
ENOUGH_WEIGHT = 2.2  # of a long question this much is enough
BARE = 0.2  # the share the statement itself must hold

# The shape of a question, what an answer to it looks like, and what that look is worth.
_SHAPES = (
    (
        r"\bhow (?:many|much|long|often|large|big|fast|far|old|high)\b|\bwhat (?:is the )?(?:\w+ )?(?:port|size|limit|number|maximum|"
        r"minimum|timeout|value|default)\b|\bwhen (?:was|did|is)\b",
        r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten)\b",
        0.12,
    ),
    (
        r"\bwhy\b|\breasons?\b",
        r"\b(?:because|so that|in order to|due to|reason|avoid|prevents?|otherwise|therefore)\b",
        0.12,
    ),
    (
        r"\bhow (?:to|do|does|can|should|is|are)\b",
        r"\b(?:use|call|set|pass|run|create|by \w+ing|you can|must)\b|^(?:To|Use|Call|Set|Pass)\b",
        0.06,
    ),
    (
        r"\b(?:differ\w*|versus|vs|compare\w*|between)\b",
        r"\b(?:whereas|while|unlike|but|rather than|instead|differ\w*|than|only)\b",
        0.1,
    ),
    (
        r"^(?:what (?:is|are|does)|define|explain)\b",
        r"\b(?:is|are) (?:a|an|the|used|defined|called)\b|\b(?:means|refers to|represents|defines)\b",
        0.12,
    ),
)


@dataclass(frozen=True)
class Question:
    """A question's words with their weights: 0.35 for words any manual has, 1 for others, 1.4 for names."""

    text: str
    weights: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.weights.values()) or 1.0


@dataclass(frozen=True)
class Ranked:
    """A statement with how well it answers: `score` orders, `coverage` is the share of the question it holds."""

    sentence: Sentence
    evidence: Evidence
    score: float
    coverage: float
    bare: float  # the share held by the statement itself, without its heading
    stems: frozenset[str]

    def is_answer(self, question: Question) -> bool:
        """Whether this holds more of the question than a stray common word."""
        enough = min(ENOUGH, ENOUGH_WEIGHT / question.total)
        met = [question.weights[s] for s in self.stems if s in question.weights]
        return self.coverage >= enough and self.bare >= min(BARE, enough) and (max(met, default=0) >= 1 or len(met) > 1)


def question(asked: str) -> Question:
    """The words of a question that carry meaning."""
    common = text.common_stems()
    weights: dict[str, float] = {}
    for place, word in enumerate(re.findall(r"[^\s?,;:!()\"]+", asked)):
        is_name = (place > 0 and word[0].isupper()) or any(c.isdigit() or c in "_." for c in word.strip(".'"))
        for stem in text.terms(word):
            weight = 1.4 if is_name else 0.35 if stem in common else 1.0
            stem = synonyms.meaning(stem)
            weights[stem] = max(weight, weights.get(stem, 0))
    return Question(asked, weights)


def rank(asked: Question, found: Iterable[tuple[Sentence, Evidence]]) -> list[Ranked]:
    """Statements by how well they answer, best first."""
    pairs = [(s, e, stems(s.text)) for s, e in found]
    local = _local(asked, [held for _, _, held in pairs])
    shapes = [
        (re.compile(look, re.IGNORECASE), bonus)
        for ask, look, bonus in _SHAPES
        if re.search(ask, asked.text, re.IGNORECASE)
    ]
    around: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
    total_local = sum(local.values()) or 1.0
    ranked: list[Ranked] = []
    for sentence, evidence, held in pairs:
        if evidence.id not in around:
            around[evidence.id] = stems(f"{evidence.title} {evidence.heading}"), stems(evidence.text[:4_000])
        above, whole = around[evidence.id]
        met = [s for s in asked.weights if s in held]
        if not met:
            continue
        beside = [s for s in asked.weights if s in above and s not in held]
        near = [s for s in asked.weights if s in whole and s not in held and s not in above]
        bare = sum(asked.weights[s] for s in met) / asked.total
        coverage = (
            bare
            + (0.6 * sum(asked.weights[s] for s in beside) + 0.2 * sum(asked.weights[s] for s in near)) / asked.total
        )
        score = (
            sum(local[s] for s in met) + 0.5 * sum(local[s] for s in beside) + 0.2 * sum(local[s] for s in near)
        ) / total_local
        score += sum(bonus for look, bonus in shapes if look.search(sentence.text)) + 0.15 * max(
            0.0, min(1.0, evidence.score)
        )
        score += (
            0.04 * (sentence.position == 0) - 0.15 * text.points_elsewhere(sentence.text) - 0.05 * (not sentence.alone)
        )
        score -= 0.06 * (len(sentence.text) > 300) + 0.06 * (len(sentence.text) < 35)
        ranked.append(Ranked(sentence, evidence, score, coverage, bare, held))
    return sorted(ranked, key=lambda r: -r.score)


def stems(words: str) -> frozenset[str]:
    """The meanings of a text's words."""
    return frozenset(synonyms.meaning(term) for term in text.terms(words))


def _local(asked: Question, held: Sequence[frozenset[str]]) -> dict[str, float]:
    """The question's weights, less for words that nearly every statement at hand has."""
    seen = Counter(s for one in held for s in one if s in asked.weights)
    top = math.log(2 + len(held))
    return {s: w * (0.5 + 0.5 * math.log((2 + len(held)) / (1 + seen[s])) / top) for s, w in asked.weights.items()}
