"""Findings grouped under the headings their sources stand under, and the terms that matter in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from workers import prose, words
from workers.relevance import Ranked
from workers.vocabulary import STOP

MAX_TOPICS = 4
FURTHER = "Further findings"
_NUMBERING = re.compile(
    r"^(?:(?:chapter|section|part|appendix)\s+)?(?:[\dIVX]+(?:\.\d+)*[.):]?|[A-Z](?:\.\d+)+\.?)\s+", re.IGNORECASE
)
_EMPTY = re.compile(
    r"^(?:introduction|overview|notes?|examples?|usage|summary|abstract|description|details|general|remarks?|background|preface|"
    r"contents?|index|readme|untitled|main|misc\w*|other|more|faq|see also|references?|appendix|changes|"
    r"new features|about|home)$",
    re.IGNORECASE,
)


def topics(found: Sequence[Ranked]) -> list[str]:
    """A topic for each finding, in their order: a heading of the sources, or the title where the heading says nothing.

    At most four; what fits under none of them stands under `FURTHER`.
    """
    names = [heading(r.evidence.heading) or heading(r.evidence.title) or "Findings" for r in found]
    if len(set(names)) <= MAX_TOPICS:
        return names
    titles = [heading(r.evidence.title) or name for r, name in zip(found, names, strict=True)]
    if len(set(titles)) <= MAX_TOPICS and len(set(titles)) > 1:
        return titles
    kept = [name for name, _ in Counter(names).most_common(MAX_TOPICS - 1)]
    return [name if name in kept else FURTHER for name in names]


def heading(name: str) -> str:
    """A heading without numbering and marks; "" when it names nothing ("Overview", "Notes")."""
    last = re.split(r"\s+[>\u203a\u00bb/|]\s+", prose.plain(name).strip())[-1]
    last = _NUMBERING.sub("", last).strip(" .:#*-\u2014")
    return "" if _EMPTY.match(last) or not 2 < len(last) <= 90 else last


def key_terms(found: Sequence[Ranked], asked: Collection[str], limit: int = 8) -> list[str]:
    """The words, as the findings write them, that come up in more than one finding, the question's own first."""
    written: dict[str, Counter[str]] = {}
    seen: Counter[str] = Counter()
    common = words.common_stems()
    for ranked in found:
        held = set()
        for raw in words.written(ranked.sentence.text):
            word = raw.lower()
            stem = words.stem(word)
            if word in STOP or stem in common or len(word) < 3 or word[0].isdigit() or word in ("e.g", "i.e"):
                continue
            written.setdefault(stem, Counter())[word if raw.istitle() else raw] += 1
            held.add(stem)
        seen.update(held)
    scored = {stem: count + 1.5 * (stem in asked) for stem, count in seen.items() if count > 1}
    best = sorted(scored, key=lambda stem: (-scored[stem], stem))[:limit]
    return [written[stem].most_common(1)[0][0] for stem in best]
