"""What an answer to a kind of question looks like: a definition, an amount, a reason, a way to do something."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from workers.answering import prose, quantities, synonyms, words

Look = Callable[[str], float]  # what the look of a sentence adds to its score

OPENING_WORDS = 7  # what a sentence is about stands there
OPENING = 0.14  # for a sentence that opens with everything the question asks for
DEFINES = 0.3
AMOUNT = 0.16
DOES = 0.12

_MANNERS = (
    (
        r"\bwhy\b|\breasons?\b",
        r"\b(?:because|so that|in order to|due to|reason|avoid|prevents?|otherwise|therefore)\b",
        0.12,
    ),
    (
        r"\bhow (?:to|do|does|can|should|is|are)\b",
        r"\b(?:use|call|set|pass|run|create|by \w+ing|you can|must)\b|^(?:To|Use|Call|Set|Pass)\b",
        0.06,
    ),
    (r"\bhow (?:to|do|can|should) (?:i|you|we|one)\b", r"^To \w+|\bto \w+[^.]*, (?:use|call|run|set|pass)\b", 0.06),
    (
        r"\b(?:differ\w*|versus|vs|compare\w*|between)\b",
        r"\b(?:whereas|while|unlike|but|rather than|instead|differ\w*|than|only)\b",
        0.1,
    ),
    (r"\bdefault\b", r"\b(?:default is|default \w+ is|defaults to|by default|is the default)\b", 0.1),
    (r"\b(?:maximum|minimum|limit|largest|smallest|longest|shortest|highest|lowest)\b", r"\d", 0.1),
    (r"^when (?:was|did)\b", r"\b(?:1[5-9]|20)\d\d\b", 0.12),
)
_MEASURES = (
    (r"\bhow (?:long|often)\b", frozenset(("time",))),
    (r"\bhow (?:large|big|much)\b", frozenset(("bytes", "share", "mass", "volume", "dollars", "euros"))),
    (r"\bhow (?:far|high|tall|deep|wide|long)\b", frozenset(("length",))),
    (r"\bhow (?:old)\b", frozenset(("time", "date"))),
    (r"\b(?:which|what)\b.*\bport\b", frozenset(("label:port",))),
    (r"\bwhat\b.*\b(?:timeout|interval|duration)\b", frozenset(("time",))),
)
_COUNTED = re.compile(
    r"\bhow many (?:[\w-]+ )*?([\w-]+)(?= (?:can|may|do|does|did|are|is|will|should|must|has|have)\b|\?|$)",
    re.IGNORECASE,
)
_NUMBER = r"(?:\d[\d,.]*|two|three|four|five|six|seven|eight|nine|ten)"
_RATE = r"(?! (?:(?:a|per|each|every|in one) )?(?:second|minute|hour|day)\b)"
_DEFINED = re.compile(
    r"^(?:what|who) (?:is|are|was|were|exactly is) (?:an? |the )?([^?,]+?)(?: for)?\s*\?*$|"
    r"^what (?:does|do) (?:an? |the )?([^?,]+?) (?:do|mean|set|control|specify)\s*\?*$|"
    r"^(?:define|explain) ([^?,]+)\??$",
    re.IGNORECASE,
)
_IS = re.compile(
    r"^(?:an? |the |[\"'\u201c])*(.{1,60}?)[\"'\u201d]?(?: \(([^)]*)\))?,? "
    r"(?:\u2014|(?:is|are|was|means?|refers? to|represents?|stands for|denotes?|consists? of|allows?|provides?|lets?)\b"
    r"(?! (?:not|no|only|also|never|\w+ly)\b))",
    re.IGNORECASE,
)
_KIND = re.compile(
    r"(?<=\w) (?:option|setting|parameter|command|function|method|statement|keyword|clause|flag|variable|module)$",
    re.IGNORECASE,
)
_SURELY = r"(?:\w+ly |always |also )"
_OBJECT = r"(?!(?:are|were|can|may|must|will|have|that|which|of|for|in|and|or)\b)"  # else the word was a plural
_HOW_TO = re.compile(r"^how (?:to|(?:do|can|should) (?:i|you|we|one)) (\w+)", re.IGNORECASE)
_FIRST = re.compile(r"([A-Za-z]+) [^\u2014]{1,60} \u2014 ")  # "CREATE USER \u2014 define a new role"
_DOES = re.compile(
    r"^(?:[^\u2014]{1,60} \u2014 |to |you can |use [^,.;]{1,40} to )?(?:(?!only)\w+ly )?(?!\w+ed\b)(\w+)", re.IGNORECASE
)
_CASE = re.compile(
    r"^(?:if|when|while|although|though|because|since|once|unless|after|until|for|note|with|without)\b|^\(",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Shape:
    """How the answer to one question looks."""

    looks: tuple[Look, ...]

    def bonus(self, sentence: str) -> float:
        """What the look of a sentence adds to its score; below 0 where it is a special case."""
        return sum(look(sentence) for look in self.looks)


def shape(asked: str, weights: Mapping[str, float]) -> Shape:
    """The shape of the answer to a question whose words have these weights."""
    looks: list[Look] = [
        _matching(look, bonus) for ask, look, bonus in _MANNERS if re.search(ask, asked, re.IGNORECASE)
    ]
    dimensions = frozenset(d for ask, some in _MEASURES if re.search(ask, asked, re.IGNORECASE) for d in some)
    if dimensions:
        looks.append(lambda sentence: AMOUNT * _measures(sentence, dimensions))
    elif counted := _COUNTED.search(asked):
        noun = re.escape(words.stem(counted[1].lower())[:6])
        looks.append(_matching(rf"\b{_NUMBER}\s+(?:[\w-]+\s+){{0,2}}?{noun}\w*{_RATE}", AMOUNT))
    if defined := _DEFINED.match(asked.strip()):
        thing = _KIND.sub("", next(filter(None, defined.groups())))
        looks.append(_defining(thing))
    if how_to := _HOW_TO.match(asked):
        looks.append(_doing(how_to[1]))
    if not re.search(r"\b(?:if|when|after|while|once)\b", asked, re.IGNORECASE):
        looks.append(_matching(_CASE.pattern, -0.08))
    looks.append(_opening(weights))
    return Shape(tuple(looks))


def _matching(pattern: str, bonus: float) -> Look:
    look = re.compile(pattern, re.IGNORECASE)
    return lambda sentence: bonus if look.search(sentence) else 0.0


def _measures(sentence: str, dimensions: frozenset[str]) -> bool:
    return any(quantity.dimension in dimensions for quantity in quantities.quantities(sentence))


def _defining(thing: str) -> Look:
    """Whether a sentence says what the thing is: "A lease is …", where "A lease of land is …" defines another.

    Of "git commit --amend" the option is what is asked for.
    """
    stems = frozenset(_stems(thing))
    called = {stems, frozenset(_stems(thing.rsplit(".", 1)[-1]))} - {
        frozenset()
    }  # `path.join` in its own page is `join`
    options = set(words.options(thing))
    name = re.escape(thing).replace(r"\ ", "[ -]")
    does = re.compile(rf"(?:an? |the )?{name}(?:\(\))? (?:command |{_SURELY})?\w+[^\W_s]s {_OBJECT}", re.IGNORECASE)

    def look(sentence: str) -> float:
        if explained := prose.EXPLAINED.match(sentence):
            names = explained[1].split(", ")
            found = options & set(names) if options else called & {frozenset(_stems(name)) for name in names}
            return DEFINES if found else 0.0
        if does.match(sentence):
            return DEFINES
        subject = _IS.match(sentence)
        if subject is None or not stems or _CASE.match(sentence):
            return 0.0
        return DEFINES if any(stems == frozenset(_stems(name or "")) for name in subject.groups()) else 0.0

    return look


def _doing(action: str) -> Look:
    """Whether a sentence begins with what is to be done: "To add …", "Add …", "--add — Adds …"."""
    stem = synonyms.meaning(words.stem(action.lower()))

    def look(sentence: str) -> float:
        begun = [found[1] for how in (_DOES, _FIRST) if (found := how.match(sentence))]
        return DOES * any(synonyms.meaning(words.stem(word.lower())) == stem for word in begun)

    return look


def _opening(weights: Mapping[str, float]) -> Look:
    total = sum(weights.values()) or 1.0

    def look(sentence: str) -> float:
        held = set(_stems(" ".join(sentence.split()[:OPENING_WORDS])))
        return OPENING * sum(weight for stem, weight in weights.items() if stem in held) / total

    return look


def _stems(text: str) -> list[str]:
    return [synonyms.meaning(term) for term in words.terms(text)]
