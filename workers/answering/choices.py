"""What a model holds to be the answer, put into the answers that words have given: it may reorder, never drop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workers.answering.answer import Answer, ShownRun
from workers.answering.passage import Passage
from workers.answering.runs import UnitRun, run_around

LEADS = 0.8  # of the value of the best run by words, what a chosen one must have to be shown before it


@dataclass(frozen=True)
class Choice:
    """Units of a passage, `first` to `last`, that answer, and what they say in other words ("": unchanged)."""

    passage: Passage
    first: int
    last: int
    said: str = ""
    also: tuple[Passage, ...] = ()


def with_choices(answers: Sequence[Answer], choices: Sequence[Choice], by: str) -> list[Answer]:
    """The answers with what was chosen; all that they showed is still there.

    A choice goes to the part that its run answers best. The first one leads there, if by words it is nearly as good as
    what leads now. Where by words nothing answers, the choices come before the other passages.
    """
    woven = list(answers)
    led: dict[int, int] = {}  # how many choices stand in front, by part
    for choice in choices:
        asked = [run_around(choice.passage, one.asked, choice.first, choice.last) for one in answers]
        part = max(range(len(answers)), key=lambda at: _beside(asked[at], answers[at]))
        before = led.get(part, 0)
        may_lead = _beside(asked[part], answers[part]) >= LEADS and before == 0
        shown, in_front = _with(
            woven[part], choice, asked[part], by, before, front=may_lead or not answers[part].answers
        )
        woven[part] = replace(woven[part], shown=tuple(shown))
        led[part] = before + in_front
    return woven


def _with(
    one: Answer, choice: Choice, around: UnitRun, by: str, before: int, *, front: bool
) -> tuple[list[ShownRun], bool]:
    """What is shown with one more choice, and whether that is in front now."""
    shown = list(one.shown)
    cited = replace(around, first=choice.first, last=choice.last)
    at = next((at for at, other in enumerate(shown) if other.run.overlaps(cited)), None)
    if at is None:
        shown.insert(before if front else len(shown), ShownRun(around, choice.also, by, choice.said))
        return shown, front
    if shown[at].by:
        return shown, False  # what it says is said
    found = shown.pop(at)
    chosen = replace(found, run=found.run.joined(cited), also=(*found.also, *choice.also), by=by, said=choice.said)
    shown.insert(min(at, before) if front else at, chosen)
    return shown, front


def _beside(run: UnitRun, one: Answer) -> float:
    """The value of a run beside that of the best one by words."""
    return run.value / (one.shown[0].run.value or 1.0) if one.shown else 1.0
