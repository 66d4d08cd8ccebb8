"""The words of a text, and the stems of those that carry meaning."""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from typing import Any

from workers.vocabulary import COMMON, STOP

_LETTER = "A-Za-z\u00c0-\u024f\u0370-\u1fff"
_WORD = re.compile(rf"[{_LETTER}][\w]*(?:[.\u2019'_-][{_LETTER}0-9_]+)*|\d[\w.,%]*")
_TIME_OUT = re.compile(r"\btim(?:e|es|ed|ing)[\s-]out\b", re.IGNORECASE)
_INNER_CAPITAL = re.compile(r"[A-Z][A-Z]+[a-z]{2}|[a-z][A-Z]")


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order; dotted and hyphenated names stay whole."""
    return [word.lower().strip("'.,-_") for word in _WORD.findall(text.replace("\u2019", "'"))]


def written(text: str) -> list[str]:
    """The words of a text as it writes them, in order."""
    return [word.strip("'.,-_") for word in _WORD.findall(text.replace("\u2019", "'"))]


def terms(text: str) -> list[str]:
    """The stems of the words that carry meaning, in order, repeated ones too."""
    text = _TIME_OUT.sub("timeout", text.replace("\u2019", "'"))
    return [stem for raw in _WORD.findall(text) for stem in _terms_of(raw)]


@lru_cache(maxsize=20_000)
def _terms_of(raw: str) -> tuple[str, ...]:
    word = raw.lower().strip("'.,-_")
    if word.isalpha():
        if word in STOP or len(word) < 2:
            return ()
        return (word if _INNER_CAPITAL.search(raw) else stem(word),)  # "URLopener" is no form of "urlopen"
    parts = re.split(r"[.'_-]", word) if not word[:1].isdigit() else [word]
    return tuple(stem(part) for part in parts if part and part not in STOP and (len(part) > 1 or part.isdigit()))


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """The stem of an English word in lower case (Snowball's Porter2)."""
    return str(_stemmer().stemWord(word)) if word.isalpha() else word.rstrip(".,%")


@lru_cache(maxsize=1)
def common_stems() -> frozenset[str]:
    """The stems of the words that any manual has."""
    return frozenset(stem(word) for word in COMMON)


def _stemmer() -> Any:
    """This thread's own: a stemmer keeps the word in itself, and two threads would cut each other's."""
    if not hasattr(_of_thread, "stemmer"):
        import snowballstemmer

        _of_thread.stemmer = snowballstemmer.stemmer("english")
    return _of_thread.stemmer


_of_thread = threading.local()
