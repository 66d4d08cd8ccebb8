"""Known words near an unknown one: misspelled, written together, or a part of a compound."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator

SHORT = 5  # letters; a shorter word is as likely another word as a misspelled one
LONG = 8  # letters of a word that may have two mistakes; two fewer where the first three letters are right
PART = 4  # letters of a part of a compound
TOO_LONG = 40  # letters; no word that anybody misspells
MOST = 20_000  # words of like length and first letter that are compared

_WORD = re.compile(r"[^\W\d_]{3,40}")
_LETTER = re.compile("[a-z\u00df-\u024f\u0370-\u03ff\u0430-\u045f]")  # scripts of letters, not of syllables or words
_ENGLISH = "abcdefghijklmnopqrstuvwxyz"
_ACCENTED = _ENGLISH + "äöüßáàâãåæçéèêëíìîïñóòôõøúùûýąćęłńśźżčďěňřšťůž"
_CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґ"
_LINKS = ("", "s", "es", "n", "en")  # between the parts of a German compound

KNOWN = "SELECT word, pages FROM word WHERE word IN ({marks})"
LIKE = """
SELECT word, pages FROM word WHERE word >= :first AND word < :next AND length(word) BETWEEN :least AND :most
LIMIT :limit
"""


def words(texts: Iterable[str]) -> set[str]:
    """The different words of a document, in lower case, as they are written."""
    return {word for word in set(_WORD.findall("\n".join(texts).lower())) if _LETTER.match(word)}


def near(connection: sqlite3.Connection, word: str) -> list[str]:
    """Words of the documents one mistake away, best first, else of long words two; none for short words.

    A mistake is a letter too many, too few, wrong, or changed places with the next. Words with the same first letter
    come first, for most mistakes keep it, then those of more documents. 10 ms in 200,000 words.
    """
    word = word.lower()
    if len(word) < SHORT or len(word) > TOO_LONG or not word.isalpha() or not _LETTER.match(word):
        return []
    found = _find_known(connection, _edits(word))
    if not found and len(word) >= LONG - 2:
        alike = _alike(connection, word, word[:1] if len(word) >= LONG else word[:3])
        found = {other: pages for other, pages in alike if _two_mistakes(word, other)}
    return sorted(found, key=lambda other: (other[0] != word[0], -found[other], other))


def split_compound(connection: sqlite3.Connection, word: str) -> tuple[str, str] | None:
    """Two known words that make up an unknown one: Serverraum, passwordreset. Of several, those of most documents."""
    word = word.lower()
    if not word.isalpha() or not 2 * PART <= len(word) <= TOO_LONG:
        return None
    splits = [
        (word[:at].removesuffix(link) if link else word[:at], word[at:])
        for at in range(PART, len(word) - PART + 1)
        for link in _LINKS
        if word[:at].endswith(link) and at - len(link) >= PART
    ]
    known = _find_known(connection, {part for split in splits for part in split})
    both = [split for split in splits if split[0] in known and split[1] in known]
    return max(both, key=lambda split: (min(known[split[0]], known[split[1]]), split), default=None)


def _find_known(connection: sqlite3.Connection, wanted: Iterable[str]) -> dict[str, int]:
    """The wanted words that the documents have, and how many documents."""
    listed = sorted(set(wanted))
    found: dict[str, int] = {}
    for start in range(0, len(listed), 500):
        some = listed[start : start + 500]
        found |= connection.execute(KNOWN.format(marks=",".join("?" * len(some))), some).fetchall()
    return found


def _edits(word: str) -> set[str]:
    letters = set(_ENGLISH if word.isascii() else _CYRILLIC if word[0] >= "\u0400" else _ACCENTED)
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    made = {a + b[1:] for a, b in cuts if b} | {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    made |= {a + letter + b[1:] for a, b in cuts if b for letter in letters}
    return (made | {a + letter + b for a, b in cuts for letter in letters}) - {word}


def _alike(connection: sqlite3.Connection, word: str, begin: str) -> Iterator[tuple[str, int]]:
    """Words with the same beginning, of like length, and nearly the same letters."""
    bounds = {
        "first": begin,
        "next": begin[:-1] + chr(ord(begin[-1]) + 1),
        "least": len(word) - 2,
        "most": len(word) + 2,
    }
    letters = set(word)
    for other, pages in connection.execute(LIKE, {**bounds, "limit": MOST}):
        if len(letters.symmetric_difference(other)) <= 4:
            yield other, pages


def _two_mistakes(one: str, other: str) -> bool:
    """Whether the optimal string alignment distance is at most two."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        now = [row]
        for column, known in enumerate(other, 1):
            cost = min(last[column] + 1, now[-1] + 1, last[column - 1] + (letter != known))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == known:
                cost = min(cost, before[column - 2] + 1)
            now.append(cost)
        if min(now) > 2:
            return False
        before, last = last, now
    return last[-1] <= 2
