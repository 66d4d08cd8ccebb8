"""Detects documents with the same text, by a small sketch of each that is made when it is indexed."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from zlib import crc32

KEPT = 64  # of a text's hashed shingles, the smallest (Broder's bottom-k sketch)
WORDS = 4  # a shingle
STARTS = 4  # of so many words, one starts a shingle, chosen by its hash: the same words in every document
FEW = 12  # starts; a text with fewer has a shingle at every word
SAME = 0.8  # of their shingles in common: the same text in another format, or a copy

_WORD = re.compile(r"\w+")


def sketch(texts: Iterable[str]) -> bytes:
    """The sketch of a document's passages, empty for a document without words."""
    words = [word for text in texts for word in _WORD.findall(text.lower())]
    hashes = {word: crc32(word.encode()) for word in set(words)}
    starts = [at for at, word in enumerate(words) if hashes[word] % STARTS == 0]
    if len(starts) < FEW:
        starts = list(range(len(words)))
    shingles = {crc32(" ".join(words[at : at + WORDS]).encode()) for at in starts}
    return array("I", sorted(shingles)[:KEPT]).tobytes()


def hashes(sketch: bytes) -> frozenset[int]:
    """A sketch, ready to be compared."""
    return frozenset(array("I", sketch))


def same(one: frozenset[int], other: frozenset[int]) -> bool:
    """Whether nearly all of two texts agrees, word for word; a translation does not."""
    common = one & other
    if not common or len(common) < SAME * max(len(one), len(other)):
        return False
    union = sorted(one | other)[:KEPT]
    return len(common.intersection(union)) >= SAME * len(union)
