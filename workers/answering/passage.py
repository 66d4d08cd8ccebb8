"""A passage as the analysis sees it: its units with their terms, and the terms of the headings above them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.report.model import Evidence
from workers.answering.units import Unit, split_units
from workers.language.languages import language_of
from workers.language.text import normalize
from workers.language.words import terms

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Passage:
    """One piece of evidence. `said` holds the terms of each unit, `written` its words as they are,
    `above` the terms of its title and headings, `heading` the last of them.

    `rank` is from 0 to 1, what the search holds of it beside the best one.
    """

    evidence: Evidence
    language: str
    rank: float
    units: tuple[Unit, ...]
    said: tuple[frozenset[str], ...]
    written: tuple[frozenset[str], ...]
    above: frozenset[str]
    heading: frozenset[str]

    @property
    def terms(self) -> frozenset[str]:
        """All terms of the passage and of its headings."""
        return self.above.union(*self.said)

    @property
    def document(self) -> str:
        """The place of the document it is from, without an anchor."""
        return self.evidence.location.split("#", 1)[0] or self.evidence.id


def passage(item: Evidence, rank: float) -> Passage:
    """The passage of one piece of evidence."""
    text = normalize(item.text or item.excerpt)
    language = item.language or language_of(text)
    units = tuple(split_units(text))
    said = tuple(frozenset(terms(unit.text, language)) for unit in units)
    written = tuple(wording(unit.text) for unit in units)
    above = terms(normalize(f"{item.title}\n{item.heading}\n{_path_of(item.location)}"), language)
    heading = wording(item.heading.rsplit(" › ", 1)[-1])
    return Passage(item, language, rank, units, said, written, frozenset(above), heading)


def wording(text: str) -> frozenset[str]:
    """The words of a text as they are written, in lower case, those of grammar too."""
    return frozenset(_WORD.findall(text.lower()))


def _path_of(location: str) -> str:
    """The folders and the file of a document below the folder of documents; nothing for an address."""
    path = location.split("#", 1)[0]
    return "" if "://" in path else path.rsplit(".", 1)[0].replace("/", " ")
