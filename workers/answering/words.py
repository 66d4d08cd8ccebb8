"""The words of a text, and the stems of those that carry meaning."""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from typing import Any

from workers.answering.vocabulary import COMMON, STOP

_LETTER = "A-Za-z\u00c0-\u024f\u0370-\u1fff"
_WORD = re.compile(rf"[{_LETTER}][\w]*(?:[.\u2019'_-][{_LETTER}0-9_]+)*|\d[\w.,%]*")
_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
# Verbs that manuals write as one word when they are names: "to back up" is about the backup.
_SPLIT = (
    (re.compile(r"\btim(?:e|es|ed|ing)[\s-]out\b", re.IGNORECASE), "timeout"),
    (re.compile(r"\bback(?:s|ed|ing)?[\s-]up\b", re.IGNORECASE), "backup"),
    (re.compile(r"\bset(?:s|ting)?[\s-]up\b", re.IGNORECASE), "setup"),
    (re.compile(r"\blog(?:s|ged|ging)?[\s-]in\b(?!\s+(?:the|a|an)\b)", re.IGNORECASE), "login"),
    (re.compile(r"\bshut(?:s|ting)?[\s-]down\b", re.IGNORECASE), "shutdown"),
    (re.compile(r"\broll(?:s|ed|ing)?[\s-]back\b", re.IGNORECASE), "rollback"),
)
_VERBS = {
    "timeout": "time out",
    "backup": "back up",
    "setup": "set up",
    "login": "log in",
    "shutdown": "shut down",
    "rollback": "roll back",
}
# A grammar word between these is a name: "the with statement".
_NAMED = re.compile(
    r"(?:^|\b(?:the|an?)\s+)(?=([a-z]+)\s+(?:statement|keyword|command|option|clause)\b)", re.IGNORECASE
)
_NO_NAME = frozenset(
    ("all", "any", "each", "every", "few", "more", "most", "no", "one", "only", "other", "own", "same")
)
_INNER_CAPITAL = re.compile(r"[A-Z][A-Z]+[a-z]{2}|[a-z][A-Z]")


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order; dotted and hyphenated names stay whole."""
    return [word.lower().strip("'.,-_") for word in _WORD.findall(text.replace("\u2019", "'"))]


def written(text: str) -> list[str]:
    """The words of a text as it writes them, in order."""
    return [word.strip("'.,-_") for word in _WORD.findall(text.replace("\u2019", "'"))]


def terms(text: str) -> list[str]:
    """The stems of the words that carry meaning, in order, repeated ones too."""
    text = joined(text.replace("\u2019", "'"))
    own = {found.start(1) for found in _named(text)}
    found = ((raw[0].lower(),) if raw.start() in own else _terms_of(raw[0]) for raw in _WORD.finditer(text))
    return [stem for stems in found for stem in stems]


def options(text: str) -> list[str]:
    """The options of a command line that a text names, as it writes them: `-u`, `--amend`."""
    return _OPTION.findall(text)


def joined(text: str) -> str:
    """The text with verbs of two words as the one word that their noun is: "back up" as "backup"."""
    for verb, noun in _SPLIT:
        text = verb.sub(noun, text)
    return text


def parted(noun: str) -> str:
    """The verb of two words that a noun comes from: "back up" of "backup"; "" for most words."""
    return _VERBS.get(noun, "")


def named(text: str) -> list[str]:
    """The grammar words, in lower case, that a text uses as names: `with` of "the with statement"."""
    return [found[1].lower() for found in _named(text)]


def _named(text: str) -> list[re.Match[str]]:
    found = _NAMED.finditer(text)
    return [one for one in found if one[1].lower() in STOP and one[1].lower() not in _NO_NAME]


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
