"""The words of a question that count, with every form in which a document may have them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from workers.language.languages import stopwords
from workers.language.text import normalize
from workers.language.words import ENDING, ENGLISH, TOKEN, is_cjk, pairs, stem, terms_of

MAX_CHARACTERS = 4_000  # of a question; what follows is not looked for
MAX_PARTS = 8  # of a word; what has more is looked for as a whole, or by the first of them

_HIRAGANA = re.compile("[\u3040-\u309f]+")
_KATAKANA = re.compile("([\u30a0-\u30ff\uff66-\uff9f]+)")
_KOREAN = re.compile(r"(?<=..)(?:에서|에게|으로|까지|부터|을|를|이|가|은|는|에|의|로|와|과|도)$")
_EDGES = re.compile(
    "^[我你他她它这這那请請]+|[在有会會能要用到给給和与與或及都也个個几幾]+$"
)  # inside, they are parts of words
_PARTICLES = ("up", "out", "in", "off", "down", "back", "on", "over", "away")
_PARTICLE = re.compile(rf"(\w{{3,}})({'|'.join(_PARTICLES)})")  # backup, timeout, login: "back up", "time out" too
_SEPARABLE = {  # "Wie lege ich … an?" asks for "anlegen"
    "de": re.compile("ab|an|auf|aus|bei|ein|her|hin|los|mit|nach|vor|weg|zu|zurück|um"),
    "nl": re.compile("aan|af|bij|in|mee|na|om|op|terug|toe|uit|voor|weg"),
}
_QUOTED = re.compile(r"""(?<!\w)["'`“„‘«»]((?:[^\s"'`“”„‘’«»]++ ?){1,3})["'`”“’‘»«](?!\w)""")
_NAMED = re.compile(r"\b(?:[Tt]he|an?)\s+([a-z]+)(?=\s+\w)")  # "the with statement"
_NO_NAME = re.compile(
    "all|any|both|each|either|every|few|less|long|many|more|most|much|no|not|one|only|other|own|possible|same|some"
    "|such|very|well"
)


@dataclass(frozen=True)
class Word:
    """A word of a question. `text` is how it was asked, `forms` the terms that stand for it, in any language.

    `parts`: terms that stand for it together, as `read` and `only` do for "read-only".
    """

    text: str
    forms: frozenset[str]
    parts: tuple[tuple[str, ...], ...] = ()

    def held(self, terms: Collection[str]) -> bool:
        """Whether a text with these terms has the word; pass a set."""
        return not self.forms.isdisjoint(terms) or any(all(part in terms for part in parts) for parts in self.parts)


def content(question: str, language: str, others: Iterable[str] = ()) -> list[Word]:
    """The words of a question that count, in order, each once; of a question of grammar words only, all of them.

    `others` are the languages that the documents are in: a word is also looked for as they would stem it.
    Kept although they are grammar: words in quotes, in capitals, and names as in "the with statement".
    """
    languages = sorted({language, ENGLISH, *others} - {""})
    plain = ENDING.sub("", normalize(question[:MAX_CHARACTERS]))
    found = list(TOKEN.finditer(plain))
    stop = stopwords(language)
    meant = _meant(plain, found, language)
    counts = [_counts(each[0].lower(), stop) or each.start() in meant for each in found]
    asked = [_words_at(found, at, counts, language, languages) for at in range(len(found))]
    kept = [word for words, counting in zip(asked, counts, strict=True) if counting for word in words]
    kept = kept or [word for words in asked for word in words]
    kept = kept or [Word(pair, frozenset([pair])) for each in found for pair in pairs(each[0])]
    return list({word.text.lower(): word for word in reversed(kept)}.values())[::-1]


def _counts(token: str, stop: Collection[str]) -> bool:
    """Whether a word is more than grammar; "peut-on" and "est-ce" are not."""
    return is_cjk(token) or (token not in stop and any(part not in stop for part in token.split("-")))


def _meant(plain: str, found: list[re.Match[str]], language: str) -> set[int]:
    """Where words begin that count even if they are grammar words."""
    names = [each.span(1) for each in _QUOTED.finditer(plain)]
    if language == ENGLISH:
        names += [each.span(1) for each in _NAMED.finditer(plain) if not _NO_NAME.fullmatch(each[1])]
    if not plain.isupper():
        names += [each.span() for each in found[1:] if each[0].isupper() and each[0] != "I"]
    return {each.start() for each in found if any(start <= each.start() < end for start, end in names)}


def _words_at(
    found: list[re.Match[str]], at: int, counts: list[bool], language: str, languages: Sequence[str]
) -> list[Word]:
    token = found[at][0]
    if is_cjk(token):
        return list(_pieces(token))
    by_language = [terms_of(token, each) for each in languages]
    forms = {found[-1] for found in by_language if found}  # the last is the whole
    parts = {found[:-1] for found in by_language if 1 < len(found) <= MAX_PARTS + 1}
    compounds = [
        found[number][0] + found[number + 1][0]
        for number in (at - 1, at)
        if 0 <= number < len(found) - 1 and _joins(found[number + 1][0], counts[number], counts[number + 1])
    ]
    if language in _SEPARABLE and _SEPARABLE[language].fullmatch(found[-1][0]):
        compounds.append(found[-1][0] + token)
    forms |= {terms_of(compound.lower(), each)[-1] for compound in compounds if _plain(compound) for each in languages}
    if particle := _PARTICLE.fullmatch(token.lower()):
        parts.add(tuple(stem(part, ENGLISH) for part in particle.groups()))
    return [Word(token, frozenset(forms), tuple(sorted(parts)))] if forms else []


def _joins(second: str, first_counts: bool, second_counts: bool) -> bool:
    """Whether two neighbours may be one word elsewhere: "lock file", "back up"."""
    return first_counts and (second_counts or second in _PARTICLES)


def _plain(compound: str) -> bool:
    return compound.isalpha() and not is_cjk(compound[-1]) and not is_cjk(compound)


def _pieces(run: str) -> Iterator[Word]:
    """The words of a run without spaces, as far as grammar between them shows: 会議室はどこ gives 会議, 議室."""
    if "\uac00" <= run[0] <= "\ud7af":
        stem = _KOREAN.sub("", run)
        pieces = [] if run in stopwords("ko") or stem in stopwords("ko") else [stem]
    elif _HIRAGANA.search(run):
        pieces = [piece for part in _HIRAGANA.split(run) for piece in _KATAKANA.split(part) if piece]
        pieces = [piece for piece in pieces if piece not in stopwords("ja")]
    else:
        pieces = [part for part in (_EDGES.sub("", part) for part in _chinese().split(run)) if part]
    for piece in pieces:
        if _KATAKANA.fullmatch(piece) or "\uac00" <= piece[0] <= "\ud7af":
            yield Word(piece, frozenset([piece] if len(piece) == 1 else ()), (pairs(piece)[:MAX_PARTS],))
        else:
            yield from (Word(pair, frozenset([pair])) for pair in pairs(piece))


@cache
def _chinese() -> re.Pattern[str]:
    return re.compile("|".join(sorted(stopwords("zh"), key=len, reverse=True)))
