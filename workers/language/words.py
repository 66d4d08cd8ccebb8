"""From text to the words that are searched: the same for a document, a question and a unit of an answer."""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache
from typing import Any

STEMMERS = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
ENGLISH = "en"  # its stems serve where a language is unknown: names, commands, code

_CJK = (
    "\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\u0e01-\u0e5b\U00020000-\U0003134f"
)
_CJK_ONLY = re.compile(f"[{_CJK}]")
_HAN = re.compile("[\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
# Letters with the marks that some scripts write after them; superscript figures are footnotes more often than words.
_L = rf"(?:(?![{_CJK}²³¹⁰-₉])[\w\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0df4])"
TOKEN = re.compile(
    rf"[{_CJK}]+"
    rf"|(?<![\w-])--?[A-Za-z][\w-]*\w|(?<![\w-])-[A-Za-z](?!\w)"  # options
    rf"|[A-Za-z]\w*(?:\+\+|\#)(?!\w)"  # C++, C#
    rf"|\d{{1,3}}(?:,\d{{3}})+(?![\w,])"  # 1,000
    rf"|{_L}+(?:[-.\u2010\u2011]{_L}+)*"
)
ENDING = re.compile(r"(?<=\w)['\u2019](?:s|t|d|m|re|ve|ll)\b")
_NUMBER = re.compile(r"(?<!\d)v?\d+(?:\.\d+)+")
_SPLIT = re.compile(r"[-._\u2010\u2011]+")
_POINT = "\x1f"  # holds the point of 3.11 while names are split at theirs
_COUNTED = re.compile(r"([A-Za-z]{2,})(\d+(?:\x1f\d+)*)|(\d+)([A-Za-z]{1,4})")  # utf8, python3.11; 5GB
_HUMPS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+\d*")
_MARKS = re.compile(r"[\u0300-\u036f]")
_UNMARKED = str.maketrans(
    {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ς": "σ"}
)


def terms(text: str, language: str) -> list[str]:
    """The terms of a text, in order, repeated ones too: lower case, stems, without diacritics (ä as a, ß as ss).

    A compound or identifier gives its parts and then the whole, joined: `read-only` and `READ_ONLY` give read, only,
    readonly. Runs of Han, Kana, Hangul and Thai are pairs of characters. `text` is taken as `normalized` left it.
    """
    found: list[str] = []
    for token in TOKEN.findall(ENDING.sub("", text) if "'" in text or "\u2019" in text else text):
        found += terms_of(token, language)
    return found


@lru_cache(maxsize=30_000)
def terms_of(token: str, language: str) -> tuple[str, ...]:
    """A token's parts, if it has any, and then the whole."""
    if is_cjk(token):
        return (*_HAN.findall(token), *pairs(token)) if len(token) > 1 else (token,)
    lower = _fold_case(token)
    if token.startswith("-"):
        name = lower.strip("-")
        return (*(terms_of(name, language) if len(name) > 1 else ()), lower)
    if token.endswith(("+", "#")):
        return (lower,)
    if "," in token:
        return (token.replace(",", ""),)
    if _NUMBER.fullmatch(token):
        return (token.lstrip("v"),)
    pieces = [piece for part in _SPLIT.split(_NUMBER.sub(_close_up, token)) if part for piece in _humps(part)]
    pieces = [piece.replace(_POINT, ".") for piece in pieces]
    whole = stem(_fold_case("".join(pieces)), language)
    if not whole:  # marks without a letter
        return ()
    stems = (stem(_fold_case(piece), language) for piece in pieces) if len(pieces) > 1 else ()
    return (*(piece for piece in stems if piece), whole)


def count(text: str) -> int:
    """About how many words a text has; two characters of a script without spaces are one."""
    words = len(text.split())
    return words if text.isascii() else words + len(_CJK_ONLY.findall(text)) // 2


def pairs(run: str) -> tuple[str, ...]:
    """Neighbouring characters of a run of Han, Kana, Hangul or Thai; a single one alone."""
    return tuple(run[at : at + 2] for at in range(max(1, len(run) - 1)))


def is_cjk(token: str) -> bool:
    """Whether a token of `TOKEN` is a run that is cut into pairs."""
    return _CJK_ONLY.match(token) is not None


def _close_up(number: re.Match[str]) -> str:
    return number[0].replace(".", _POINT)


def _humps(part: str) -> list[str]:
    """The words of an identifier (maxTasks, FileNotFoundError, utf8, 5GB), else the part itself."""
    if part.isdigit() or not part.isascii():
        return [part]
    if counted := _COUNTED.fullmatch(part):
        return [piece for piece in counted.groups() if piece]
    humps = _HUMPS.findall(part)
    named = len(humps) > 2 or (len(humps) == 2 and part[0].islower())  # not GitHub, JavaScript: names of one word
    return humps if named and "".join(humps) == part and all(len(hump) > 1 for hump in humps) else [part]


def _fold_case(token: str) -> str:
    return unicodedata.normalize("NFKC", token).lower().replace("i\u0307", "i")


def stem(word: str, language: str) -> str:
    """The stem of a word in lower case, without diacritics; anything but a word is returned as it is."""
    if word.isalpha() or _MARKS.search(word):
        word = _stemmer(STEMMERS.get(language, STEMMERS[ENGLISH])).stemWord(word)
    if word.isascii():
        return str(word)
    plain = _MARKS.sub("", unicodedata.normalize("NFD", word.translate(_UNMARKED)))
    return unicodedata.normalize("NFC", plain)


def _stemmer(algorithm: str) -> Any:
    """This thread's own: a stemmer keeps the word in itself, and two threads would cut each other's."""
    stemmers = _of_thread.__dict__
    if algorithm not in stemmers:
        import snowballstemmer

        stemmers[algorithm] = snowballstemmer.stemmer(algorithm)
    return stemmers[algorithm]


_of_thread = threading.local()
