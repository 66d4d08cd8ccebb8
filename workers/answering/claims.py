"""What a sentence claims, taken apart so that two can be compared: matter, amounts, denial, conditions, names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shared.report import Evidence
from workers.answering import quantities, synonyms
from workers.answering.quantities import Quantity
from workers.answering.text import Sentence
from workers.answering.vocabulary import NEGATIONS, STOP, VERBS, words_of

DENIED_WORDS = 4  # so many words of content after a "not" stand under it

_PHRASES = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"\btim(?:e|es|ed|ing)[\s-]out\b", "timeout"),
        (
            r"\bunless (?:\w+ ){0,3}?(?:configured|set|specified|told|stated|changed|given|overridden|noted)"
            r"(?: otherwise| differently)?\b",
            "default",
        ),
        (r"\bout of the box\b|\bif nothing else is \w+|\bunless otherwise \w+", "default"),
        (r"\b(?:no|not any) longer\b", "not"),
        (r"\b(?:rather than|instead of|as opposed to)\b[^,.;]*", " "),
        (r"\bnot only\b|\bif not\b|\bwhether or not\b|\bno matter\b|\bnot just\b|\bnot necessarily\b", " "),
        (r"\bno(?:t)? (?:more|less|fewer) than\b", "at most"),
        (r"\bnon-(?=\w)", "non"),
        (r"\b(?:switch|turn|power)(?:s|ed)? (?:off|down)\b", "disabled"),
        (r"\b(?:switch|turn|power)(?:s|ed)? on\b", "enabled"),
        (r"^(?:yes|no), ", ""),
    )
)
_ANY_PHRASE = re.compile(
    r"\b(?:tim(?:e|es|ed|ing)[\s-]out|unless|out of|if n|no|rather|instead|as opposed|whether|yes|switch|turn|power)",
    re.IGNORECASE,
)
_CLAUSES = re.compile(r"(?:;|:| \u2013| \u2014|,? whereas|,? although|, while|, but)\s+(?=\w+ \w+ \w+)")
# What follows explains the claim and is no part of it.
_TAIL = re.compile(
    r", (?:which|who|after|before|since|because|so|as|even (?:if|though)|though|where|for example|for instance|"
    r"such as)\b|"
    r" (?:because|so that) | and (?=(?:is|are|was|were|can|may|must|will|has|have) )|"
    r" since (?=the |a |an |it |they |we |you )",
    re.IGNORECASE,
)
_NOT = re.compile(rf"^(?:{'|'.join(sorted(NEGATIONS))}|hardly|unable|\w+n't)$")
_BREAKS = words_of("if when unless until while but because and or as since though although whereas so that which")
_RESTRICTS = words_of("that which who whose if when unless until while")  # "a message that is not read" denies nothing
_TURNS = words_of(
    "of for in on at to from by that which who between among with within across through under over into as"
)
_CONDITION = re.compile(
    r"\b(?:(?:if|when|whenever|unless|until|while|once|provided that|as long as|in case|except) ([^,;:]*)|"
    r"(?:with|during|under) ((?:(?!is |are |was |were |has |can |will |must |that |while |if )[^\s,;:]+ ?){1,4}))",
    re.IGNORECASE,
)
_CONDITIONAL = re.compile(r"(?:if|when|whenever|unless|until|while|once)\b", re.IGNORECASE)
_VERB = re.compile(
    r"^(?:is|are|was|were|be|been|has|have|had|do|does|did|can|could|may|might|must|shall|should|will|would|cannot|becomes?|"
    r"defaults?|uses?|takes?|lasts?|keeps?|needs?|requires?|supports?|allows?|returns?|gets?|runs?|starts?|stops?|expires?|"
    r"sends?|waits?|listens?|accepts?|rejects?|contains?|holds?|means|provides?|remains?|stays?|closes?|opens?|limits?|"
    r"writes?|reads?|stores?|receives?|gives?|makes?|goes|comes?|appear(?:s|ed)?|deliver(?:s|ed)?|\w+n't|\w{3,}ed)$"
)
_SCOPES = {"within": "in", "inside": "in", "across": "out", "between": "out", "among": "out", "outside": "out"}
_TOKEN = re.compile(r"[^\W_][\w'.-]*[^\W_]|[^\W_]|--?[a-z][\w-]+|[,;:]")
_NAME = re.compile(r"^(?=.*[A-Za-z])(?:.+[A-Z0-9].*|.+[._].+|--?[a-z].*)$")  # an acronym, an identifier, an option
_VERSIONED = frozenset(("label:version", "label:python", "label:java", "label:http", "label:tls", "label:ipv"))


@dataclass(frozen=True)
class Claim:
    """One clause, ready to be compared. All sets hold stems of one meaning each (see `synonyms.sign`)."""

    text: str  # the whole sentence, as quoted
    evidence: str
    document: str
    matter: frozenset[str]  # what it speaks of: content words without amounts
    head: str  # the thing it is about, as far as that can be seen; "" if not
    denied: frozenset[str]  # the parts of the matter that stand under a "not"
    amounts: tuple[Quantity, ...]
    conditions: frozenset[str]  # the words of its "if", "when", "with" clauses
    names: frozenset[str]  # proper names, acronyms, identifiers; lower case
    sides: frozenset[tuple[int, int]]  # opposed state words: (which opposition, which side)
    versions: frozenset[float]
    before: dict[str, str]  # for each part of the matter the word before it
    earlier: frozenset[str]  # of "B after A" and "A before B": what comes first, and
    later: frozenset[str]  # what comes then
    scope: frozenset[str]  # "in" for within and inside, "out" for across and between
    commands: bool = False  # it tells the reader to do something, and so denies nothing
    whole: bool = False  # this is all clauses of a sentence together: good for likeness, not for what differs


def claims(sentence: Sentence, evidence: Evidence, document: str, known: frozenset[str] = frozenset()) -> list[Claim]:
    """The claims of a sentence: of each clause between semicolons, colons and dashes, and of the whole.

    `known` are names (lower case) that count as names also where a sentence begins.
    """
    shown, said = sentence.text, sentence.core
    if _ANY_PHRASE.search(said):
        for pattern, replacement in _PHRASES:
            said = pattern.sub(replacement, said)
    clauses = _CLAUSES.split(said)
    parts = [_claim(_TAIL.split(clause, maxsplit=1)[0], shown, evidence, document, known) for clause in clauses]
    if _CONDITIONAL.match(said):
        parts = [replace(part, conditions=part.conditions | parts[0].conditions) for part in parts]
    if len(parts) == 1 and not _TAIL.search(said):
        return parts
    return [*parts, replace(_claim(said, shown, evidence, document, known), whole=True)]


def _claim(clause: str, sentence: str, evidence: Evidence, document: str, known: frozenset[str]) -> Claim:
    amounts = tuple(quantities.quantities(clause))
    counted = frozenset(a.dimension[1:] for a in amounts if a.dimension.startswith("#"))
    tokens = [token.replace("\u2019", "'") for token in _TOKEN.findall(clause)]
    reading = _Reading(known, counted)
    for place, token in enumerate(tokens):
        reading.take(token, tokens[place - 1] if place else "")
    matter = frozenset(reading.order)
    earlier, later = _sequence(tokens, matter)
    return Claim(
        text=sentence,
        evidence=evidence.id,
        document=document,
        matter=matter,
        head=reading.head,
        denied=frozenset(reading.denied),
        amounts=amounts,
        conditions=_signs(" ".join(found for pair in _CONDITION.findall(clause) for found in pair)) & matter,
        names=frozenset(reading.names),
        sides=frozenset(reading.sides),
        versions=frozenset(a.low for a in amounts if a.dimension in _VERSIONED),
        before=reading.before,
        earlier=earlier,
        later=later,
        commands=bool(tokens) and tokens[0].lower() in VERBS,
        scope=frozenset(_SCOPES[word] for token in tokens if (word := token.lower()) in _SCOPES),
    )


@dataclass
class _Reading:
    """What is known of a clause while its words are read in order."""

    known: frozenset[str]
    counted: frozenset[str]
    order: list[str] = field(default_factory=list)
    before: dict[str, str] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    sides: set[tuple[int, int]] = field(default_factory=set)
    head: str = ""
    _headed: bool = False  # the head is known
    _under: int = 0  # words left that stand under a "not"
    _last: str = ""
    _recent: tuple[str, ...] = ()

    def take(self, token: str, previous: str) -> None:
        word = token.lower()
        self._recent = (*self._recent[-5:], word)
        if _NOT.match(word):
            self._under = 0 if _RESTRICTS.intersection(self._recent) else DENIED_WORDS
            self._headed = self._headed or word != "no"
            return
        if word in _BREAKS or token in ",;:":
            self._under = 0
        if self.head and self._ends_head(word, previous):
            self._headed = True
        if word in synonyms.opposed():
            number, side = synonyms.opposed()[word]
            self.sides.add((number, side ^ (self._under > 0)))
        if self._is_empty(word, previous):
            self._last = word
            return
        if _NAME.match(token) or word in self.known or (token[0].isupper() and token.isalpha() and previous):
            self.names.add(word)
        for sign in synonyms.signs(token):
            if sign.isdigit() and sign not in self.counted:
                continue
            self.order.append(sign)
            self.before.setdefault(sign, self._last)
            self._last = sign
            if self._under:
                self.denied.add(sign)
            if not self._headed and not word.endswith("ly"):
                self.head = sign
        self._under = max(0, self._under - 1)

    @staticmethod
    def _ends_head(word: str, previous: str) -> bool:
        """Whether the subject ends here: a preposition or a verb begins what is said of it."""
        plural = previous.endswith("s") or previous.lower() in ("always", "also", "only", "usually", "often")
        return (
            word in _TURNS
            or _VERB.match(word) is not None
            or (word.endswith("s") and word[:-1] in VERBS)
            or (word in VERBS and plural)
        )

    def _is_empty(self, word: str, previous: str) -> bool:
        """Whether a word carries no matter: grammar, numbers, and units after numbers."""
        if word in STOP or quantities.is_number(word) or not word[0].isalpha():
            return True
        return quantities.is_unit(word) and (
            quantities.is_number(previous.lower())
            or previous.lower() in ("half", "a", "an", "one", "per", "few", "several")
        )


def _sequence(tokens: Sequence[str], matter: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """What comes first and what comes then, where a clause says so with one "before" or "after"."""
    lower = [token.lower() for token in tokens]
    marks = [place for place, word in enumerate(lower) if word in ("before", "after")]
    if len(marks) != 1:
        return frozenset(), frozenset()
    mark = marks[0]
    if mark > 0 and lower[:mark] != ["only"]:
        main, other = tokens[:mark], tokens[mark + 1 :]
    elif "," in lower:
        main, other = tokens[lower.index(",") :], tokens[mark + 1 : lower.index(",")]
    else:
        return frozenset(), frozenset()
    events = _signs(" ".join(other)) & matter, _signs(" ".join(main)) & matter
    return events if lower[mark] == "after" else (events[1], events[0])


def _signs(words: str) -> frozenset[str]:
    return frozenset(sign for token in _TOKEN.findall(words) for sign in synonyms.signs(token))
