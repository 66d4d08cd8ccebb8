"""PURE: splits a text into the questions it contains."""

from __future__ import annotations

import re

MAX_PARTS = 8
MAX_LEAD = 200  # characters before a list that each of its items is asked with

_ASKS = (
    r"(?:how|what|why|when|where|which|who|whose|whom|is|are|was|were|does|do|did|can|could|should|would|will|may|must)"
)
_JOINT = re.compile(
    r"(?:\s*[,;]\s*(?:and\s+|or\s+|but\s+)?|\s+and\s+)(?=(?:how|what|why|when|where|which|who)\b"
    r"(?!\s+(?:i|you|he|she|it|we|they|the|an?|this|that|these|those|to)\b))",  # "what the user sees" asks nothing
    re.IGNORECASE,
)
_ITEM = re.compile(r"^[^\S\n]*(?:[-*•]|\d{1,2}[.)])\s+(\S.*)$", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[?])\s+")
_STARTS = re.compile(rf"^(?:and\s+|but\s+|also,?\s+)?{_ASKS}\b", re.IGNORECASE)
_POINTS_BACK = re.compile(
    r"\b(it|its|he|him|his|she|hers?|they|them|their|this|that|these|those|one|ones)\b", re.IGNORECASE
)
_EMPTY = re.compile(
    rf"\b(?:{_ASKS}|the|a|an|of|in|on|for|to|with|and|or|it|its|they|them|their|this|that|these|those|there|be|been|"
    r"have|has|had|i|you|we|my|your|our|use|used|happens?|happen|when|if|from|by|at|as|not)\b",
    re.IGNORECASE,
)


def parts(description: str) -> list[str]:
    """The questions in a description, in order, at most 8; a plain question is its own only part.

    Lists (`- …`, `1. …`) and several questions are taken apart, and one sentence at a joint before a question word:
    "What is WAL and how does it survive a crash?" holds two. A part that points back ("it") gets what it points at;
    an item that is not a question gets the words before its list. A list beside a question is only its context.
    """
    text = description.strip()
    items = [m.group(1).strip() for m in _ITEM.finditer(text)]
    if len(items) >= 2:
        return _split_list(text, items)
    sentences = [s.strip() for s in _SENTENCE.split(text) if s.strip()]
    asked = [s for s in sentences if s.endswith("?") and _STARTS.match(s)]
    if len(asked) < 2 and len(sentences) != 1:
        return [text]
    found = [part for sentence in (asked if len(asked) >= 2 else sentences) for part in _split_joined(sentence)]
    return _distinct(_resolve_references(found)) if len(found) > 1 else [text]


def _split_list(text: str, items: list[str]) -> list[str]:
    if all(item.endswith("?") for item in items):
        return _distinct(_resolve_references(items))
    if "?" in _ITEM.sub("", text):
        return [text]
    lead = " ".join(text[: next(_ITEM.finditer(text)).start()].split()).rstrip(" :")
    return _distinct([f"{lead}: {item}" if lead and len(lead) <= MAX_LEAD else item for item in items])


def _split_joined(sentence: str) -> list[str]:
    if not _STARTS.match(sentence):
        return [sentence]
    pieces = [p.strip(" ,;") for p in _JOINT.split(sentence)]
    if any(len(_topic(p).split()) < 1 for p in pieces):  # "how and why": one question
        return [sentence]
    return [p[:1].upper() + p[1:].removesuffix("?") + "?" for p in pieces]


def _resolve_references(found: list[str]) -> list[str]:
    subject = _topic(found[0])
    return [found[0]] + [
        f"{p} ({subject})" if subject and _POINTS_BACK.search(p) and not set(subject.split()) <= set(p.split()) else p
        for p in found[1:]
    ]


def _topic(question: str) -> str:
    return " ".join(_EMPTY.sub(" ", question).replace("?", " ").split())


def _distinct(found: list[str]) -> list[str]:
    unique = list({p.casefold(): p for p in found}.values())
    if len(unique) <= MAX_PARTS:
        return unique
    return [*unique[: MAX_PARTS - 1], " ".join(unique[MAX_PARTS - 1 :])]
