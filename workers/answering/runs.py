"""Runs of neighbouring units: the pieces of a passage that may be shown as an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from workers.answering.passage import Passage
from workers.answering.question import Question
from workers.answering.units import Unit

LENGTH = 350  # characters of a run: at 150 the study's 72 answers were whole for 31, at 250 for 42, at 420 for 51
WITH_LIST = 700  # of one that takes in the list or the code that it announces
# With 0.5 and 0.1 for these two the right document came first for 120 of 147 instead of 124, shown were 104, not 102.
HEADING = 0.8  # what a word in the title and headings alone counts of its weight
RANK = 0.5  # what the passage's rank counts beside the words
WORDING = 0.3  # what it counts that a run and its heading have the question's words as written, grammar too


@dataclass(frozen=True)
class UnitRun:
    """Neighbouring units of a passage, `first` to `last`, and how well they answer a question.

    `held` are the positions of the question's words in it, those of its headings included.
    """

    passage: Passage
    first: int
    last: int
    held: frozenset[int]
    value: float

    @property
    def text(self) -> str:
        """The run as it is shown: lists and code keep their lines."""
        units = self.passage.units[self.first : self.last + 1]
        return "".join((unit.before if at else "") + unit.text for at, unit in enumerate(units)).strip("\n")

    @property
    def terms(self) -> frozenset[str]:
        """The terms of the run itself."""
        return frozenset().union(*self.passage.said[self.first : self.last + 1])

    def overlaps(self, other: UnitRun) -> bool:
        """Whether both show a unit of the same passage."""
        same = self.passage.evidence.id == other.passage.evidence.id
        return same and self.first <= other.last and other.first <= self.last

    def joined(self, other: UnitRun) -> UnitRun:
        """This run, extended to where a run of the same passage that overlaps it begins or ends."""
        return replace(self, first=min(self.first, other.first), last=max(self.last, other.last))


def runs(passage: Passage, asked: Question) -> Iterator[UnitRun]:
    """A run from each unit that holds a word of the question, and one from the passage's beginning."""
    held = [asked.held(said) for said in passage.said]
    for start in range(len(held)):
        if held[start] or start == 0:
            yield _run(passage, asked, *_extent(passage, start), held)


def run_around(passage: Passage, asked: Question, first: int, last: int) -> UnitRun:
    """The run that shows these units, with as much before and after them as there is room for."""
    begins, ends = _extent(passage, first)
    return _run(passage, asked, begins, max(last, ends), [asked.held(said) for said in passage.said])


def _run(passage: Passage, asked: Question, first: int, last: int, held: Sequence[frozenset[int]]) -> UnitRun:
    inside = frozenset().union(*held[first : last + 1])
    above = asked.held(passage.above)
    value = asked.share(inside) + HEADING * asked.share(above - inside) + RANK * passage.rank
    same = asked.written & passage.heading.union(*passage.written[first : last + 1])
    value += WORDING * len(same) / max(1, len(asked.written))
    return UnitRun(passage, first, last, inside | above, value)


def _extent(passage: Passage, start: int) -> tuple[int, int]:
    """From where to where a run reaches that begins at a unit: forward as far as there is room, then back.

    Back only to the beginning of the paragraph or list: what precedes it is more often about something else.
    """
    units = passage.units
    last, size = start, _length(units[start])
    listed = units[start].kind != "sentence" and start == 0  # the heading announces it
    while last + 1 < len(units):
        following = units[last + 1]
        listed = (listed or units[last].announces) and (following.kind != "sentence" or units[last].announces)
        if size + _length(following) > (WITH_LIST if listed else LENGTH):
            break
        last, size = last + 1, size + _length(following)
    while last > start and units[last].announces:
        last -= 1  # what it announces did not fit
    first = start
    while first > 0 and _belong(units[first - 1], units[first]) and size + _length(units[first - 1]) <= LENGTH:
        first, size = first - 1, size + _length(units[first - 1])
    return first, last


def _length(unit: Unit) -> int:
    return len(unit.before) + len(unit.text)


def _belong(before: Unit, unit: Unit) -> bool:
    """Whether a unit is read together with the one before it: the same paragraph, the same list, what announces it."""
    return unit.before in (" ", "\n") or before.announces
