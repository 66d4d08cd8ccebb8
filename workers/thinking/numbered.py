"""PURE: passages as a model reads them, every sentence under a short number that it can point at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shared import rendering
from workers.answering.analysis import Reading
from workers.answering.passage import Passage
from workers.answering.runs import runs

EACH = range(350, 900)  # characters of one passage that are read, around what answers best by its words
AMONG = 4  # passages that a model should choose from, where there is little room
TITLE = 120  # characters of what stands above a passage
UNIT = 400  # characters of one sentence, row or piece of code
QUOTED = 12  # characters that a quotation must have to be looked for
_LABEL = re.compile(r"p(\d{1,3})(?:\.(\d{1,4}))?\Z")
_MARKS = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"})


@dataclass(frozen=True)
class NumberedUnit:
    """One unit of a passage: `at` is its position there."""

    passage: Passage
    at: int

    @property
    def text(self) -> str:
        """The unit in one line, white space and kinds of quotation marks aside."""
        return flat(self.passage.units[self.at].text)


class Numbered:
    """The passages of a reading, the best first, as many as fit into `room` characters.

    `text` is what the model reads; `places` are the units in it by their numbers (`p1.2` is the second of the first).
    """

    def __init__(self, reading: Reading, room: int) -> None:
        self.text = ""
        self.passages: list[Passage] = []
        self.places: dict[str, NumberedUnit] = {}
        each = min(EACH.stop, max(EACH.start, room // AMONG - TITLE))
        for item in _order(reading):
            shown, places = _number_units(len(self.passages) + 1, item, _window(item, reading, each))
            if len(self.text) + len(shown) > room:
                break
            self.text += shown
            self.passages.append(item)
            self.places |= places

    def found(self, names: Iterable[str]) -> list[NumberedUnit]:
        """What names point at, in their order: numbers, or the words themselves. Labels of whole passages do not."""
        found = (self.places.get(_name(name)) or self.quoted(name) for name in names)
        return list({(place.passage.evidence.id, place.at): place for place in found if place}.values())

    def within(self, names: Iterable[str]) -> list[NumberedUnit]:
        """All units of the passages that names begin with."""
        labels = {match[1] for name in names if (match := _LABEL.match(_name(name)))}
        return [place for name, place in self.places.items() if name[1:].partition(".")[0] in labels]

    def quoted(self, words: str) -> NumberedUnit | None:
        """The unit that contains the words, or is contained in them, letter by letter."""
        said = flat(words)
        if len(said) < QUOTED:
            return None
        near = (p for p in self.places.values() if said in p.text or (len(p.text) >= QUOTED and p.text in said))
        return max(near, key=lambda place: min(len(place.text), len(said)), default=None)


def flat(text: str) -> str:
    """A text on one line, in lower case, with plain marks."""
    return " ".join(rendering.clean(text).translate(_MARKS).casefold().split())


def _name(name: str) -> str:
    return name.strip().strip("[]().:#").casefold()


def _order(reading: Reading) -> list[Passage]:
    """Those that are shown as they are shown, then the others."""
    shown = [one.run.passage for answer in reading.answers for one in answer.shown]
    return list({item.evidence.id: item for item in [*shown, *reading.passages]}.values())


def _window(item: Passage, reading: Reading, each: int) -> range:
    """The units around the best run of the passage, from there on and then back, as far as there is room."""
    best = max((run for one in reading.answers for run in runs(item, one.asked)), key=lambda run: run.value)
    first = last = best.first
    size = len(item.units[first].text)
    while last + 1 < len(item.units) and size + len(item.units[last + 1].text) <= each:
        last += 1
        size += len(item.units[last].text)
    while first > 0 and size + len(item.units[first - 1].text) <= each:
        first -= 1
        size += len(item.units[first].text)
    return range(first, last + 1)


def _number_units(number: int, item: Passage, units: Sequence[int]) -> tuple[str, dict[str, NumberedUnit]]:
    above = " > ".join(part for part in (item.evidence.title, item.evidence.heading) if part)
    named = {f"p{number}.{count}": NumberedUnit(item, at) for count, at in enumerate(_speaking(item, units), 1)}
    lines = (f"[{name}] {_line(item.units[place.at].text)}\n" for name, place in named.items())
    return f"[p{number}] {_line(above)[:TITLE]}\n{''.join(lines)}\n", named


def _speaking(item: Passage, units: Sequence[int]) -> Iterator[int]:
    return (at for at in units if _line(item.units[at].text))


def _line(text: str) -> str:
    return " ".join(rendering.clean(text, keep_lines=True).split())[:UNIT]
