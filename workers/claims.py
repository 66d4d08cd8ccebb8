"""What a sentence claims, taken apart so that two sentences can be compared: matter, amounts, denial, conditions, names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.report import Evidence
from workers import quantities, synonyms, text
from workers.quantities import Quantity

_PHRASES = (
    (re.compile(r"\btim(?:e|es|ed|ing)[\s-]out\b", re.IGNORECASE), "timeout"),
    (
        re.compile(
            r"\bunless (?:\w+ )?(?:configured|set|specified|told|stated|changed|given|overridden)(?: otherwise)?|\bout of the box\b|"
            r"\bif nothing else is \w+|\bunless otherwise \w+",
            re.IGNORECASE,
        ),
        "default",
    ),
    (re.compile(r"\b(?:no|not any) longer\b", re.IGNORECASE), "not"),
    (re.compile(r"\b(?:rather than|instead of|as opposed to)\b[^,.;]*", re.IGNORECASE), " "),
    (
        re.compile(
            r"\bnot only\b|\bif not\b|\bwhether or not\b|\bno matter\b|\bnot just\b|\bnot necessarily\b|\bno more than\b|\bno (?:less|fewer) than\b",
            re.IGNORECASE,
        ),
        " ",
    ),
    (re.compile(r"\bnon-(?=\w)", re.IGNORECASE), "non"),
)
_NOT = re.compile(r"^(?:not|no|never|cannot|none|neither|nor|without|hardly|unable|\w+n't)$", re.IGNORECASE)
_CONDITION = re.compile(
    r"\b(?:if|when|whenever|unless|until|while|once|provided that|as long as|in case|except|only|with|without|given|during|under)\b([^,;:]*)",
    re.IGNORECASE,
)
_BREAKS = frozenset("if when unless until while but because and or as since though although whereas".split())
_VERBISH = re.compile(
    r"^(?:is|are|was|were|be|has|have|had|do|does|did|can|could|may|might|must|shall|should|will|would|cannot|becomes?|"
    r"defaults?|uses?|takes?|lasts?|keeps?|needs?|requires?|supports?|allows?|returns?|gets?|runs?|starts?|stops?|expires?|sends?|waits?|"
    r"listens?|accepts?|rejects?|contains?|holds?|means|provides?|remains?|stays?|closes?|opens?|limits?|writes?|reads?|stores?|"
    r"receives?|gives?|makes?|goes|comes?|\w+n't)$"
)
_TOKEN = re.compile(r"[^\W_][\w'.-]*[^\W_]|[^\W_]|--?[a-z][\w-]+", re.UNICODE)
_NAME = re.compile(
    r"^(?:[A-Z][A-Za-z]*[A-Z0-9]\w*|[A-Z]{2,}s?|\w*[a-z][A-Z]\w*|\w+[._]\w[\w.]*|--?[a-z][\w-]+|[A-Za-z]+\d[\w.]*)$"
)


@dataclass(frozen=True)
class Claim:
    """One sentence, ready to be compared. All sets hold stems of one meaning each (see `synonyms`)."""

    text: str
    evidence: str
    document: str
    matter: frozenset[str]  # what it speaks of: content words without amounts, denials and conditions' markers
    order: tuple[str, ...]  # the same in order
    head: str  # the thing it is about, as far as that can be seen; "" if not
    denied: frozenset[str]  # the parts of the matter that stand under a "not"
    amounts: tuple[Quantity, ...]
    conditions: frozenset[str]  # of "if", "when", "with" clauses and of versions
    names: frozenset[str]  # proper names, acronyms, identifiers; lower case
    sides: frozenset[tuple[int, int]]  # opposed state words: (which opposition, which side)
    versions: frozenset[float]
    before: dict[str, str]  # for each part of the matter the word before it


def claim(sentence: str, evidence: Evidence, document: str, known: frozenset[str] = frozenset()) -> Claim:
    """Takes one sentence apart. `known` are names (lower case) that count as such also where a sentence begins."""
    said = sentence
    for pattern, replacement in _PHRASES:
        said = pattern.sub(replacement, said)
    amounts = quantities.quantities(said)
    tokens = [token.replace("\u2019", "'") for token in _TOKEN.findall(said)]
    order: list[str] = []
    before: dict[str, str] = {}
    denied: set[str] = set()
    names: set[str] = set()
    sides: set[tuple[int, int]] = set()
    under = 0
    last = ""
    head, headed = "", False
    opposed = synonyms.opposed()
    counted = {a.dimension[1:] for a in amounts if a.dimension.startswith("#")}
    for place, token in enumerate(tokens):
        word = token.lower()
        if _NOT.match(token):
            under = 4
            headed = headed or word != "no"
            continue
        if _VERBISH.match(word) and order:
            headed = True
        if word in opposed:
            number, side = opposed[word]
            sides.add((number, side ^ (under > 0 and 1)))
        if word in _BREAKS:
            under = 0
        if (
            _NAME.match(token)
            or word in known
            or (place and token[0].isupper() and token.isalpha() and not tokens[place - 1].endswith((".", ":")))
        ):
            names.add(word)
        if (
            word in text.STOP
            or token[0].isdigit()
            or (quantities.is_unit(word) and place and _is_number(tokens[place - 1]))
        ):
            last = word
            if word in ("of", "for", "in", "on", "at", "to", "from", "by", "that", "which", "who") and head:
                headed = True
            continue
        for part in text.terms(token):
            part = synonyms.meaning(part)
            if part.isdigit() and part not in counted:
                continue
            order.append(part)
            before.setdefault(part, last)
            if under:
                denied.add(part)
            last = part
            if not headed:
                head = part
        under = max(0, under - 1)
    versions = frozenset(
        a.low
        for a in amounts
        if a.dimension == "label:version" or a.dimension in ("label:python", "label:java", "label:http", "label:tls")
    )
    conditions = frozenset(
        synonyms.meaning(t) for clause in _CONDITION.findall(said) for t in text.terms(clause) if not t.isdigit()
    )
    return Claim(
        text=sentence,
        evidence=evidence.id,
        document=document,
        matter=frozenset(order),
        order=tuple(order),
        head=head,
        denied=frozenset(denied),
        amounts=tuple(amounts),
        conditions=conditions,
        names=frozenset(names),
        sides=frozenset(sides),
        versions=versions,
        before=before,
    )


def _is_number(token: str) -> bool:
    return (
        token[0].isdigit()
        or quantities.is_unit(token.lower())
        or token.lower() in ("half", "a", "an", "one", "per", "few", "several")
    )
