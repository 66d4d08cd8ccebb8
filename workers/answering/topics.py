"""Findings grouped under the headings their sources stand under, and the terms that matter in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from workers.answering import prose, words
from workers.answering.relevance import Ranked
from workers.answering.vocabulary import STOP

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

    At most four. Where there would be more, those with more than one finding stay, and the rest stands under `FURTHER`.
    """
    titles = [heading(r.evidence.title) or "Findings" for r in found]
    names = [heading(r.evidence.heading) or title for r, title in zip(found, titles, strict=True)]
    for grouped in (names, titles):
        if len(set(grouped)) <= MAX_TOPICS and len(grouped) >= 2 * len(set(grouped)) - 1:
            return grouped
    kept = [name for name, count in Counter(names).most_common(MAX_TOPICS - 1) if count > 1]
    return [name if name in kept else FURTHER if kept else "Findings" for name in names]


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
            written.setdefault(stem, Counter())[raw] += 1
            held.add(stem)
        seen.update(held)
    scored = {stem: count + 1.5 * (stem in asked) for stem, count in seen.items() if count > 1}
    best = sorted(scored, key=lambda stem: (-scored[stem], stem))[:limit]
    return [_usual(written[stem]) for stem in best]


def _usual(forms: Counter[str]) -> str:
    """The form in small letters where there is one: the others stood at the beginning of a sentence."""
    small = [form for form in forms if form.islower()]
    return max(small or forms, key=lambda form: forms[form])
