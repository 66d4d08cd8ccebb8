"""A question as words with weights, and which of them a piece of text holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from shared.report.model import AskedWord
from workers.answering.passage import Passage, wording
from workers.language.languages import language_of
from workers.language.questions import Word, content

UNKNOWN = 1.5  # times its worth: a name that is in no document is what the question is about
BESIDE = 0.5  # of its weight, what a word of the whole question counts for a part without it


@dataclass(frozen=True)
class Question:
    """One question, or a part of one: `asked` are its words as they are looked for, `words` what each of them weighs.

    The first `own` of them are in the part itself, the others only beside it. `written` are all of its words as they
    are, those of grammar too.
    """

    text: str
    written: frozenset[str]
    asked: tuple[Word, ...]
    words: tuple[AskedWord, ...]
    own: int

    def held(self, terms: Collection[str]) -> frozenset[int]:
        """The positions of the words that are among the terms of a text."""
        return frozenset(at for at, word in enumerate(self.asked) if word.held(terms))

    def share(self, held: Iterable[int]) -> float:
        """The share of the question, from 0 to 1 by weight, that these words are; those beside it count half."""
        weights = [_worth(word) * (1.0 if at < self.own else BESIDE) for at, word in enumerate(self.words)]
        return sum(weights[at] for at in held) / (sum(weights) or 1.0)

    def covered(self, held: Iterable[int]) -> float:
        """The share of the part itself, from 0 to 1 by weight, that these words are."""
        own = sum(_worth(word) for word in self.words[: self.own])
        return sum(_worth(self.words[at]) for at in held if at < self.own) / (own or 1.0)


def _worth(word: AskedWord) -> float:
    """What a word counts: the square root of its weight, more where no passage has it.

    So that one rare word is not more than the rest of a question. Measured (`tests.quality`), it makes no difference:
    14 of 19 questions without an answer are admitted both ways, and 13 instead of 14 of 147 with one.
    """
    return math.sqrt(word.weight) * (1.0 if word.passages else UNKNOWN)


def question(text: str, known: Sequence[AskedWord], passages: Sequence[Passage], beside: str = "") -> Question:
    """The question with the weights that its search gave its words; without a search they are counted in `passages`.

    `beside` is the whole question that it is a part of: "what did the last one cost?" refers to it.
    """
    language, languages = language_of(text), {one.language for one in passages}
    part = content(text, language, languages)
    rest = [word for word in content(beside, language, languages) if word not in part] if beside else []
    pairs: list[tuple[Word, AskedWord]] = []
    own = 0
    for at, word in enumerate([*part, *rest]):
        weighed = list(dict.fromkeys(one for one in known if one.word.lower() == word.text.lower()))
        for one in weighed or [_count(word, passages)]:
            instead = content(one.searched, language, languages) if one.searched else []
            pairs.append((instead[0] if instead else word, one))
        own = len(pairs) if at < len(part) else own
    return Question(text, wording(text), tuple(word for word, _ in pairs), tuple(one for _, one in pairs), own)


def _count(word: Word, passages: Sequence[Passage]) -> AskedWord:
    having = sum(word.held(one.terms) for one in passages)
    return AskedWord(word=word.text, weight=math.log(1 + (len(passages) + 1) / (1 + having)), passages=having)
