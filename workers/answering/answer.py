"""The answer to a question out of passages: the best run, more from other places, and whether they answer at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from workers.answering.passage import Passage
from workers.answering.question import Question
from workers.answering.runs import UnitRun, runs

MORE = 3  # runs from other places beside the best one
ENOUGH = 0.5  # of the question's weight, what the best passage and its headings must hold to answer it
COMPARED = 12  # runs, the best by their words, whose meaning is compared with the question's; 30 were not better
MEANING = 2.0  # what that counts, from 0 to 1, beside the words
SAME = 0.75  # of the terms of the shorter run, what two runs must share to say the same

Near = Callable[[str, Sequence[str]], Sequence[float]]
"""How near texts come to a question in what they mean, each from 0 to 1; nothing where that cannot be said."""


@dataclass(frozen=True)
class ShownRun:
    """A run that is shown, and the passages of other documents that say the same.

    `by` is the model that chose it, "" where words did; `said` is what it says in the model's words, if anything.
    """

    run: UnitRun
    also: tuple[Passage, ...] = ()
    by: str = ""
    said: str = ""

    def joined(self, other: ShownRun) -> ShownRun:
        """This run together with one that overlaps it."""
        also = (*self.also, *other.also)
        return ShownRun(self.run.joined(other.run), also, self.by or other.by, self.said or other.said)


@dataclass(frozen=True)
class Answer:
    """What is shown for a question, the best first; `confidence` is the share of it that the best passage holds."""

    asked: Question
    shown: tuple[ShownRun, ...] = ()
    confidence: float = 0.0

    @property
    def answers(self) -> bool:
        """Whether the best run is an answer, and not only what comes nearest."""
        return bool(self.shown) and self.confidence >= ENOUGH


def answer(asked: Question, passages: Sequence[Passage], near: Near | None = None) -> Answer:
    """The best run of each of the best passages, at most `1 + MORE`, none that says what another said."""
    found = sorted((run for one in passages for run in runs(one, asked)), key=lambda run: -run.value)
    if not found:
        return Answer(asked)
    holds = asked.covered(asked.held(found[0].passage.terms))  # by words alone, whatever comes first by its meaning
    if near is not None:
        found = _rank_by_meaning(asked, found, near)
    best: dict[str, UnitRun] = {}
    for run in found:
        best.setdefault(run.passage.evidence.id, run)
    shown: list[ShownRun] = []
    for run in best.values():
        same = next((at for at, other in enumerate(shown) if says_the_same(run, other.run)), None)
        if same is not None:
            shown[same] = replace(shown[same], also=(*shown[same].also, run.passage))
        elif len(shown) <= MORE:
            shown.append(ShownRun(run))
    return Answer(asked, tuple(shown), holds)


def _rank_by_meaning(asked: Question, found: Sequence[UnitRun], near: Near) -> list[UnitRun]:
    """The runs with the best ones of them in the order of words and meaning."""
    first = found[:COMPARED]
    meanings = near(asked.text, [f"{_above(run)}. {run.text}" for run in first])
    if not meanings:
        return list(found)
    worth = [(run.value + MEANING * meaning, run) for run, meaning in zip(first, meanings, strict=True)]
    return [*(run for _, run in sorted(worth, key=lambda each: -each[0])), *found[COMPARED:]]


def _above(run: UnitRun) -> str:
    """The heading right above a run, else its document's title."""
    return run.passage.evidence.heading.rsplit(" › ", 1)[-1] or run.passage.evidence.title


def says_the_same(one: UnitRun, other: UnitRun) -> bool:
    """Whether the shorter of two runs is nearly all in the other one, its numbers too."""
    fewer, more = sorted((one.terms, other.terms), key=len)
    return _numbers(fewer) <= _numbers(more) and len(fewer & more) >= SAME * len(fewer)


def differ(one: UnitRun, other: UnitRun) -> bool:
    """Whether two runs of different documents say nearly the same with other numbers: a reader must see both."""
    if one.passage.document == other.passage.document:
        return False
    fewer, more = sorted((one.terms, other.terms), key=len)
    mine, theirs = _numbers(fewer), _numbers(more)
    words = fewer - mine
    return bool(mine and theirs) and not mine <= theirs and len(words & more) >= SAME * len(words)


def _numbers(said: frozenset[str]) -> frozenset[str]:
    return frozenset(term for term in said if term[:1].isdigit())
