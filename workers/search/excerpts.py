"""The sentences around a hit: what a reader sees of a passage first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from workers.search.passages import CODE, sentences

MAX_CHARACTERS = 400
MARK, UNMARK = "\x02", "\x03"


@dataclass(frozen=True)
class Excerpt:
    """At most 400 characters, whole sentences where they fit; `position` is where it starts in the passage."""

    text: str
    position: int


@dataclass(frozen=True)
class _Sentence:
    text: str
    position: int
    paragraph: int
    weight: float
    prose: bool


def excerpt(marked: str, weights: Mapping[str, float]) -> Excerpt:
    """The run of neighbouring sentences that says most about the question.

    `marked` is the passage with \\x02 and \\x03 around the question's words; `weights` says what each word of the
    question is worth. Prose is preferred to code, and of equals the first.
    """
    said = list(_sentences(marked, weights))
    if not said:
        return Excerpt("", 0)
    best = max(range(len(said)), key=lambda at: (_worth(said, at), -at))
    first = last = best
    size = len(said[best].text)
    while True:
        after = said[last + 1] if last + 1 < len(said) else None
        before = said[first - 1] if first else None
        if after and _fits(after, said[best], size):
            last, size = last + 1, size + len(after.text) + 1
        elif before and _fits(before, said[best], size):
            first, size = first - 1, size + len(before.text) + 1
        else:
            break
    text = " ".join(each.text for each in said[first : last + 1])
    return Excerpt(_short(text), said[first].position)


def _fits(other: _Sentence, best: _Sentence, size: int) -> bool:
    return other.prose and best.prose and size + len(other.text) < MAX_CHARACTERS


def _worth(said: list[_Sentence], at: int) -> float:
    here = said[at]
    near = sum(other.weight for other in said[at + 1 : at + 2] if other.paragraph == here.paragraph)
    length = len(here.text)
    return (here.weight + near / 4) * (1.0 if here.prose else 0.3) * (0.6 if length < 40 else 1.0)


def _sentences(marked: str, weights: Mapping[str, float]) -> Iterator[_Sentence]:
    position = 0
    for number, paragraph in enumerate(marked.split("\n\n")):
        plain = _plain(paragraph)
        code = plain.startswith(CODE)
        start = 0
        for sentence in [paragraph] if code else sentences(paragraph):
            text = _plain(sentence).strip()
            start = max(plain.find(text, start), 0)
            if text:
                yield _Sentence(text, position + start, number, _weight(sentence, weights), not code)
        position += len(plain) + 2


def _weight(sentence: str, weights: Mapping[str, float]) -> float:
    """The sum over the different words of the question; forms of one word count once."""
    seen: dict[str, float] = {}
    for part in sentence.split(MARK)[1:]:
        word = part.split(UNMARK, 1)[0].lower()
        term = max(weights, key=lambda each: _shared(each, word), default=word)
        seen[term] = weights.get(term, 0.0)
    return sum(seen.values())


def _shared(term: str, word: str) -> int:
    count = 0
    for one, other in zip(term, word, strict=False):
        if one != other:
            break
        count += 1
    return count


def _plain(text: str) -> str:
    return text.replace(MARK, "").replace(UNMARK, "")


def _short(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[: MAX_CHARACTERS - 1].rsplit(None, 1)[0].rstrip(" ,;:") + "…"
