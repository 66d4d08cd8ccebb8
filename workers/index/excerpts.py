"""The sentences of a passage that hold most of the question: what a reader sees of it first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workers.index.ranking import SearchedQuestion
from workers.language.sentences import sentences
from workers.language.words import terms
from workers.reading.documents.document import CODE

MAX_CHARACTERS = 400


@dataclass(frozen=True)
class Excerpt:
    """At most 400 characters, whole sentences where they fit; `position` is where it starts in the passage."""

    text: str
    position: int


def excerpt(body: str, language: str, asked: SearchedQuestion) -> Excerpt:
    """The neighbouring sentences with the largest weight of different words of the question; of equals the first."""
    parts = list(_parts(body))
    held = [_match(text, language, asked) for _, text in parts]
    best, best_weight = Excerpt("", 0), -1.0
    for first in [at for at, words in enumerate(held) if words] or range(len(parts))[:1]:
        words, size, last = set(held[first]), len(parts[first][1]), first
        while last + 1 < len(parts) and size + 1 + len(parts[last + 1][1]) <= MAX_CHARACTERS:
            last += 1
            size += 1 + len(parts[last][1])
            words |= held[last]
        weight = sum(asked.weights[word].weight for word in words)
        if weight > best_weight:
            text = " ".join(text for _, text in parts[first : last + 1])
            best, best_weight = Excerpt(_short(text), parts[first][0]), weight
    return best


def _match(text: str, language: str, asked: SearchedQuestion) -> set[int]:
    there = set(terms(text, language))
    return {at for at, word in enumerate(asked.words) if word.held(there)}


def _parts(body: str) -> Iterator[tuple[int, str]]:
    """Sentences of paragraphs and lines of code, each with its position."""
    position = 0
    for block in body.split("\n\n"):
        start = 0
        for part in block.splitlines() if block.startswith(CODE) else sentences(block):
            start = max(block.find(part, start), 0)
            if part.strip():
                yield position + start, " ".join(part.split())
        position += len(block) + 2


def _short(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[: MAX_CHARACTERS - 1].rsplit(None, 1)[0].rstrip(" ,;:") + "…"
