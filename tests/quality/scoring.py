"""Whether an answer is right: the marks of one question, by the paths and phrases that its set names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from tests.quality.sets import Question

FIRST_CHARACTERS = 700  # of the summary's first statement
SHOWN_CHARACTERS = 1_600  # of all that is shown, in order
ADMITTING = ("Your documents do not seem to answer this", "Nothing was found")

_HYPHEN_AT_LINE_END = re.compile(r"(?<=\w)(?:\u00ad\s*|[\u2010-][ \t]*\n\s*|\u2010\s+)(?=\w)")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True)
class Answer:
    """What came back for a question; `sources` are locations, best first, `passages` the texts that research found."""

    summary: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    passages: tuple[str, ...] = ()
    answered: bool | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Marks:
    """`first` to `retrieved` for a question that has an answer, `admitted` for one that has none."""

    first: bool = False
    shown: bool = False
    document_first: bool = False
    document_in_three: bool = False
    retrieved: bool = False
    wrong_nothing: bool = False
    admitted: bool = False


def marks(question: Question, answer: Answer) -> Marks:
    """An answerable question that is admitted or gets nothing counts as neither first nor shown."""
    nothing = admits(answer)
    if question.absent:
        return Marks(admitted=nothing)
    places = [place.partition("#")[0] for place in answer.sources]
    return Marks(
        first=not nothing and holds(answer.summary[0][:FIRST_CHARACTERS], question.keys),
        shown=not nothing and holds(_shown(answer), question.keys),
        document_first=any(place in question.pages for place in places[:1]),
        document_in_three=any(place in question.pages for place in places[:3]),
        retrieved=holds("\n\n".join(answer.passages), question.keys),
        wrong_nothing=nothing,
    )


def admits(answer: Answer) -> bool:
    """Whether it says that nothing answers."""
    return answer.answered is False or not answer.summary or answer.summary[0].startswith(ADMITTING)


def holds(text: str, keys: Sequence[Sequence[str]]) -> bool:
    """Whether the text has one phrase of every group, whatever its case, markup, white space and hyphens."""
    plain = _plain(text)
    return all(any(_pattern(phrase).search(plain) for phrase in group) for group in keys)


def _shown(answer: Answer) -> str:
    return "\n".join([*answer.summary, *answer.more])[:SHOWN_CHARACTERS]


def _plain(text: str) -> str:
    return _HYPHEN_AT_LINE_END.sub("", unicodedata.normalize("NFKC", text)).casefold()


def _pattern(phrase: str) -> re.Pattern[str]:
    """The phrase's words in order, from a word's beginning; it may end inside a word, but not inside a number."""
    words = re.findall(r"[^\W_]+", _plain(phrase))
    begin = "" if _CJK.match(words[0]) else r"(?<![^\W_])"
    end = r"(?![^\W_])" if words[-1].isdigit() and not _CJK.match(words[-1]) else ""
    return re.compile(begin + r"[\W_]*".join(words) + end)
