"""The agreements and contradictions among the claims of a task's documents, found pair by pair and grouped."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from shared.report import Agreement, Contradiction, Side
from workers.answering import synonyms, words
from workers.answering.claims import Claim
from workers.answering.comparison import Verdict, Weights, compare, weights
from workers.answering.vocabulary import NEGATIONS, STOP

MAX_PAIRS = 30_000  # compared at most: about half a second
MAX_SHOWN = 8  # of each kind
RELEVANT = 0.15  # of the question, with its heading and document, at least one of two statements must have this share
COMMON_IN = 0.35  # a word in more than this share of the claims does not make a pair by itself


def agreements_and_contradictions(
    claims: Sequence[Claim],
    relevance: Mapping[str, float],
    answers: Collection[str],
    out_of_time: Callable[[], bool] = lambda: False,
) -> tuple[list[Agreement], list[Contradiction]]:
    """The agreements and contradictions among claims, most relevant first, at most eight each.

    `relevance` is from 0 to 1 by sentence; of two that agree, one must be among the `answers`. The work is bounded by
    `MAX_PAIRS`, and ends early when `out_of_time`.
    """
    weigh = weights(claims)
    agreeing: list[tuple[float, Claim, Claim]] = []
    opposing: list[tuple[float, Claim, Claim, Verdict]] = []
    for number, (a, b) in enumerate(_pairs(claims, weigh)):
        if number >= MAX_PAIRS or (number % 500 == 0 and out_of_time()):
            break
        if max(relevance.get(a.text, 0.0), relevance.get(b.text, 0.0)) < RELEVANT:
            continue
        if (verdict := compare(a, b, weigh)) is None:
            continue
        if verdict.kind != "agree" and words.words(a.text) == words.words(b.text):
            continue  # one text, written with other apostrophes or dashes
        value = verdict.likeness + relevance.get(a.text, 0.0) + relevance.get(b.text, 0.0)
        if verdict.kind == "agree" and not (a.text in answers or b.text in answers):
            continue
        if verdict.kind == "agree":
            agreeing.append((value, a, b))
        else:
            opposing.append((value, a, b, verdict))
    contrary = {frozenset((a.text, b.text)) for _, a, b, _ in opposing}
    agreeing = [(value, a, b) for value, a, b in agreeing if frozenset((a.text, b.text)) not in contrary]
    return _agreements(agreeing, answers), _contradictions(opposing)


def _pairs(claims: Sequence[Claim], weigh: Weights) -> Iterable[tuple[Claim, Claim]]:
    """Pairs of different documents that share two words, one of them not common, in the claims' order."""
    holders: dict[str, list[int]] = defaultdict(list)
    limit = max(12, COMMON_IN * len(claims))
    for number, claim in enumerate(claims):
        met: Counter[int] = Counter()
        for stem in claim.matter:
            met.update(holders[stem][-400:])
        for other, count in met.items():
            if count >= 2 and claims[other].document != claim.document:
                yield claims[other], claim
        for stem in claim.matter:
            if len(holders[stem]) < limit or weigh.of.get(stem, 1.0) > 0.4:
                holders[stem].append(number)


def _agreements(found: list[tuple[float, Claim, Claim]], answers: Collection[str]) -> list[Agreement]:
    groups: list[dict[tuple[str, str], Claim]] = []
    for _, a, b in sorted(found, key=lambda pair: -pair[0]):
        pair = {(c.text, c.document): c for c in (a, b)}
        group = next((g for g in groups if {said for said, _ in g} & {said for said, _ in pair}), None)
        if group is None:
            groups.append(pair)
        else:
            group |= pair
    return [
        Agreement(
            statement=_clearest([c for c in group.values() if c.text in answers]).text,
            evidence=list(dict.fromkeys(c.evidence for c in group.values())),
        )
        for group in groups[:MAX_SHOWN]
    ]


def _contradictions(found: list[tuple[float, Claim, Claim, Verdict]]) -> list[Contradiction]:
    shown: list[Contradiction] = []
    seen: dict[str, Contradiction] = {}
    for _, a, b, verdict in sorted(found, key=lambda pair: -pair[0]):
        known = seen.get(a.text) or seen.get(b.text)
        if known is not None:
            for claim in (a, b):
                if claim.text not in seen:
                    known.sides.append(Side(statement=claim.text, evidence=[claim.evidence]))
                    seen[claim.text] = known
            continue
        sides = [Side(statement=c.text, evidence=[c.evidence]) for c in (a, b)]
        one = Contradiction(about=_matter(a, b), sides=sides, why=verdict.why[:1].upper() + verdict.why[1:] + ".")
        seen[a.text] = seen[b.text] = one
        shown.append(one)
    return shown[:MAX_SHOWN]


def _matter(a: Claim, b: Claim) -> str:
    """What both speak of, in the words of one: the run of words with its subject that holds most of what they share."""
    shared = (a.matter & b.matter) - {f"\u00b1{number}" for number, side in a.sides if (number, 1 - side) in b.sides}
    runs = [run for claim in (a, b) for part in re.split(r"[,;:()]", claim.text) for run in _runs(part, shared)]
    signs = [[sign for word in run for sign in synonyms.signs(word) if sign in shared] for run in runs]
    heads = {a.head, b.head}
    best = max(zip(signs, runs, strict=True), key=lambda s: (not heads.isdisjoint(s[0]), len(s[0])), default=([], []))[
        1
    ]
    named = " ".join(best[:10])
    return named[:1].upper() + named[1:]


def _runs(statement: str, shared: frozenset[str]) -> Iterable[list[str]]:
    """The runs of shared words and grammar in a statement that begin and end with a shared word."""
    run: list[str] = []
    end = 0
    for word in [*words.written(statement), ""]:
        is_shared = bool(shared.intersection(synonyms.signs(word)))
        if is_shared or (run and word.lower() in STOP and word.lower() not in NEGATIONS):
            run.append(word)
            end = len(run) if is_shared else end
        elif run:
            yield run[:end]
            run, end = [], 0


def _clearest(claims: Iterable[Claim]) -> Claim:
    return min(claims, key=lambda c: abs(len(c.text) - 110))
