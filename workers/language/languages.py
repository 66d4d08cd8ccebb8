"""Which language a text is in, by its script and its grammar words."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

SAMPLE = 6_000  # characters that are looked at
ENOUGH = 0.5  # of grammar words that one language alone has; shared ones count a part
SHARE = 0.04  # of a text's words that must speak for a language; prose has 0.2 to 0.5, tables and code fewer
AHEAD = 1.15  # times what the second language has

_SCRIPTS = (
    (re.compile(r"[\u3040-\u30ff\uff66-\uff9f]"), "ja"),
    (re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]"), "ko"),
    (re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"), "zh"),
    (re.compile(r"[\u0e01-\u0e5b]"), "th"),
    (re.compile(r"[\u0590-\u05ff]"), "he"),
    (re.compile(r"[\u067e\u0686\u0698\u06af\u06a9\u06cc]"), "fa"),
    (re.compile(r"[\u0600-\u06ff]"), "ar"),
    (re.compile(r"[\u0900-\u0963\u0966-\u097f]"), "hi"),
    (re.compile(r"[\u0b80-\u0bff]"), "ta"),
    (re.compile(r"[\u0530-\u058f]"), "hy"),
    (re.compile(r"[\u10a0-\u10ff]"), "ka"),
)
_OWN_SCRIPT = re.compile(r"[\u0530-\u11ff\u3040-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003134f]")
_LETTERS = {  # that one language of the lists has alone, or nearly
    **dict.fromkeys("ß", ("de",)),
    **dict.fromkeys("¿¡ñ", ("es",)),
    **dict.fromkeys("ãõ", ("pt",)),
    **dict.fromkeys("łżźśńąę", ("pl",)),
    **dict.fromkeys("řůěď", ("cs",)),
    **dict.fromkeys("ğı", ("tr",)),
    **dict.fromkeys("őű", ("hu",)),
    **dict.fromkeys("șță", ("ro",)),
    **dict.fromkeys("øæ", ("da", "no")),
    **dict.fromkeys("œ", ("fr",)),
    **dict.fromkeys("іїєґ", ("uk",)),
    **dict.fromkeys("ыэъё", ("ru",)),
    **dict.fromkeys("àèìò", ("it", "fr", "ca")),
    **dict.fromkeys("äö", ("de", "sv", "fi")),
    **dict.fromkeys("ü", ("de", "tr", "hu")),
    **dict.fromkeys("áíú", ("cs", "es", "hu", "pt")),
}
_LETTER = re.compile("[" + "".join(_LETTERS) + "]")
# Of single letters, those that are words: "C and D" is not French because of "c'est".
_WORD = re.compile(r"[^\W\d_]{2,}|[^\W\d_](?=['\u2019])|[^\W\d_bcdfghjklmnpqrstvx]")
_TWINS = {"no": "da"}  # too alike to tell in a few words; either's grammar words serve for both


def language_of(text: str) -> str:
    """The language as ISO 639-1, "" where its words do not tell: a command, a name, a table of numbers."""
    sample = text[:SAMPLE].lower()
    own = len(_OWN_SCRIPT.findall(sample))
    words = _WORD.findall(sample)
    if own and own * 4 >= sum(map(len, words)):  # a sentence in Chinese may name a program in Latin letters
        return _by_script(sample)
    known = _languages_by_word()
    votes: dict[str, float] = {}
    for word in words:
        speakers = known.get(word, ())
        for language in speakers:
            votes[language] = votes.get(language, 0.0) + (1.0 if len(speakers) == 1 else 0.8 / len(speakers) ** 0.5)
    for letter in set(_LETTER.findall(sample)):
        for language in _LETTERS[letter]:
            votes[language] = votes.get(language, 0.0) + 0.8 / len(_LETTERS[letter])
    if not votes:
        return ""
    ranked = sorted(votes, key=lambda each: (-votes[each], each))
    first = ranked[0]
    others = [votes[each] for each in ranked[1:] if _TWINS.get(each) != first]
    ahead = votes[first] >= AHEAD * max(others, default=0.0)
    return first if ahead and votes[first] >= max(ENOUGH, SHARE * len(words)) else ""


def stopwords(language: str) -> frozenset[str]:
    """A language's grammar words; of an unknown one, short words that several languages share."""
    return _lists().get(language, frozenset()) if language else _common_words()


@cache
def _lists() -> dict[str, frozenset[str]]:
    text = (Path(__file__).parent / "stopwords.txt").read_text("utf-8")
    lines = " ".join(line for line in text.splitlines() if not line.startswith("#"))
    parts = re.split(r"\b([a-z]{2}): ", lines)
    return {language: frozenset(words.split()) for language, words in zip(parts[1::2], parts[2::2], strict=True)}


@cache
def _languages_by_word() -> dict[str, tuple[str, ...]]:
    """The languages that have a word."""
    known: dict[str, tuple[str, ...]] = {}
    for language, words in _lists().items():
        for word in words:
            known[word] = (*known.get(word, ()), language)
    return known


@cache
def _common_words() -> frozenset[str]:
    return frozenset(word for word, speakers in _languages_by_word().items() if len(speakers) > 2 and len(word) < 3)


def _by_script(sample: str) -> str:
    counts = [(len(script.findall(sample)), language) for script, language in _SCRIPTS]
    kana = counts[0][0]
    if kana and kana * 8 >= counts[2][0]:  # Japanese mixes both; a Chinese text may quote a Japanese name
        return "ja"
    if counts[5][0] * 20 >= counts[6][0] > 0:
        return "fa"
    count, language = max((each for each in counts if each[1] not in ("ja", "fa")), default=(0, ""))
    return language if count else ""
