"""PURE: which of a model's statements hold, by the words and numbers of the sentences they cite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from workers.answering.passage import wording
from workers.language.languages import language_of
from workers.language.questions import content
from workers.language.text import normalize
from workers.language.words import terms
from workers.thinking.numbered import NumberedUnit, flat

ODD = 8  # words of a statement that count, of which one need not be in what it rests on: "so", in other words
SAME = 0.9  # of the terms of a quotation, how many make a statement its repetition
MAX_STATEMENT = 400  # characters
FEWEST = 3  # words that count; fewer, without a number, say too little to be held against anything
VARIED = 0.6  # of the words of a statement are different ones; small models go round and round
_NUMBER = re.compile(
    r"\d+(?:[.,:]\d+)*|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred|thousand|million"
    r"|half|twice|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|hundert|tausend|halbe?"
    r"|deux|trois|quatre|cinq|sept|huit|neuf|dix|cent|mille|dos|tres|cuatro|cinco|siete|ocho|nueve|diez|cien|mil)\b"
)
_CHINESE_NOT = re.compile("[不没沒无無未非勿]|ません|ない")
# Grammar that turns a sentence around. Where a statement has one and its source none, or the other way, it may lie.
# fmt: off
_NOT = frozenset({
    "no", "not", "never", "none", "nothing", "neither", "nor", "without", "cannot", "t", "nicht", "kein", "keine",
    "keinen", "keinem", "keiner", "nie", "niemals", "ohne", "pas", "jamais", "aucun", "aucune", "sans", "ni",
    "nunca", "ningún", "ninguna", "sin", "non", "mai", "nessun", "nessuna", "senza", "niet", "geen", "nooit",
    "zonder", "não", "sem", "nenhum", "nenhuma", "inte", "aldrig", "utan", "ikke", "aldri", "uden", "uten", "не",
    "нет", "ни", "никогда", "без", "bez", "žádný", "yok", "değil",
})
# fmt: on


def holds(statement: str, places: Sequence[NumberedUnit]) -> bool:
    """Whether the words of a statement are in these units or their headings, and its numbers in the units."""
    if not places or not _is_statement(statement):
        return False
    denies = [_denies(place.passage.units[place.at].text) for place in places]
    if _denies(statement):
        if not any(denies):
            return False
    else:  # what a sentence denies carries nothing that is not denied
        places = [place for place, no in zip(places, denies, strict=True) if not no]
    if not _numbers([statement]) <= _numbers(place.passage.units[place.at].text for place in places):
        return False
    said = frozenset[str]().union(*(place.passage.said[place.at] | place.passage.above for place in places))
    languages = {place.passage.language for place in places}
    held = _match_words(statement, said, languages)
    return (len(held) >= FEWEST or bool(_numbers([statement]))) and held.count(False) <= len(held) // ODD


def echoes(statement: str, questions: Iterable[str]) -> bool:
    """Whether a statement says nothing that a question does not say itself."""
    if statement.rstrip().endswith(("?", "？")):
        return True
    asked = ((frozenset(terms(normalize(one), language_of(one))), {language_of(one)}) for one in questions)
    return any(all(_match_words(statement, said, languages)) for said, languages in asked)


def repeats(statement: str, quotation: str, language: str) -> bool:
    """Whether a statement only says again what is quoted: it is in there, or is most of it."""
    if flat(statement).rstrip(".") in flat(quotation):
        return True
    quoted, said = terms(normalize(quotation), language), frozenset(terms(normalize(statement), language))
    return bool(quoted) and sum(term in said for term in quoted) >= SAME * len(quoted)


def speaks(statement: str) -> bool:
    """Whether there is a word in it."""
    return bool(re.search(r"[^\W\d_]{2}|[^\W\d_a-zA-Z]", statement))


def words_of(statement: str) -> str:
    """A statement by its words alone, to know it again."""
    return " ".join(re.findall(r"\w+", flat(statement)))


def _is_statement(text: str) -> bool:
    """Whether it is not rambling: of some length, and without endless repetition."""
    words = re.findall(r"\w+", text.lower())
    return 0 < len(text) <= MAX_STATEMENT and len(set(words)) >= VARIED * len(words)


def _match_words(statement: str, said: frozenset[str], languages: Iterable[str]) -> list[bool]:
    """For each word of a statement that counts, whether it is among the terms."""
    return [word.held(said) for word in content(statement, language_of(statement), languages)]


def _numbers(texts: Iterable[str]) -> frozenset[str]:
    found = (number for text in texts for number in _NUMBER.findall(normalize(text).lower()))
    return frozenset(number.replace(",", "") for number in found)


def _denies(text: str) -> bool:
    return not _NOT.isdisjoint(wording(text)) or bool(_CHINESE_NOT.search(text))
