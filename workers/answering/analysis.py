"""An analysis out of passages: what is shown of them is quoted, never made up."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shared.report.model import Analysis, Evidence, Finding
from workers.answering.answer import Answer, Near, ShownRun, answer, differ
from workers.answering.intake import Intake
from workers.answering.parts import parts
from workers.answering.passage import Passage, passage
from workers.answering.question import question

MAX_PARTS = 20  # questions of one task that are answered
MAX_ALSO = 5  # other documents that are cited with a run because they say the same
MAX_SOURCES = 40
_POINTED = re.compile(r"(?<=\?) \([^()]*\)$")
BEST = 2.0  # a value that hardly any run exceeds: a finding's score is a share of it


@dataclass(frozen=True)
class _FoundRun:
    """A run as a finding: the question it is shown for, and whether it is shown as its answer."""

    question: str
    shown: ShownRun
    leads: bool
    answers: bool


@dataclass(frozen=True)
class Reading:
    """A task's evidence as it was read: the passages, the best first, and an answer to each part of the question."""

    task: str
    found: Intake
    passages: tuple[Passage, ...]
    answers: tuple[Answer, ...]


def analyse(
    task: str, found: Intake, out_of_time: Callable[[], bool] = lambda: False, near: Near | None = None
) -> Analysis:
    """What the evidence says about a task, or about each of the questions it was taken apart into."""
    return analysis(read(task, found, out_of_time, near))


def read(
    task: str, found: Intake, out_of_time: Callable[[], bool] = lambda: False, near: Near | None = None
) -> Reading:
    """Reads the best passages first, and no more once `out_of_time`. Meaning counts where `near` tells it."""
    passages = _read_passages(_best_first(found), out_of_time)
    known = [word for words in found.words.values() for word in words]
    asked = [question(part, known, passages, beside) for part, beside in _parts(task, found)]
    return Reading(task, found, tuple(passages), tuple(answer(part, passages, near) for part in asked))


def analysis(reading: Reading, answers: Sequence[Answer] | None = None) -> Analysis:
    """The analysis of what was read; with `answers`, those take the place of its own."""
    items, found = _best_first(reading.found), reading.found
    answers = reading.answers if answers is None else answers
    findings = _findings(answers)
    cited = {id_: None for finding in findings for id_ in finding.evidence}
    late = f"Time ran out: {len(reading.passages)} of {len(items)} passages were read, the best first."
    return Analysis(
        question=reading.task or answers[0].asked.text,
        findings=findings,
        answered=any(one.answers for one in answers),
        confidence=round(sum(one.confidence for one in answers) / len(answers), 3),
        unanswered=[_as_read(one.asked.text) for one in answers if not one.answers] if len(answers) > 1 else [],
        words=list(dict.fromkeys(word for one in answers for word in one.asked.words)),
        sources=_sources(items, cited),
        searched=found.searched,
        passages=len(items),
        thin=not findings,
        notes=[*found.notes, *([late] if len(reading.passages) < len(items) else [])],
    )


def _best_first(found: Intake) -> list[Evidence]:
    return sorted(found.evidence.values(), key=lambda item: -item.score)


def _read_passages(items: Sequence[Evidence], out_of_time: Callable[[], bool]) -> list[Passage]:
    best = items[0].score if items else 0.0
    passages: list[Passage] = []
    for item in items:
        if passages and out_of_time():
            break
        passages.append(passage(item, item.score / best if best else 0.0))
    return passages


def _parts(task: str, found: Intake) -> list[tuple[str, str]]:
    """The questions that were searched for; a single one in its parts, each with the whole beside it."""
    asked = list(dict.fromkeys(part for questions in found.questions.values() for part in questions)) or [task]
    if len(asked) > 1:
        return [(part, "") for part in asked[:MAX_PARTS]]
    apart = parts(asked[0])
    return [(part, asked[0] if len(apart) > 1 else "") for part in apart]


def _findings(answers: Sequence[Answer]) -> list[Finding]:
    """The answers to all parts first, then the rest; what overlaps is one finding, so that nothing is shown twice."""
    pieces = [
        _FoundRun(one.asked.text, shown, leads=_leads(one, shown), answers=one.answers)
        for one in answers
        for shown in one.shown
    ]
    kept: list[_FoundRun] = []
    for piece in sorted(pieces, key=lambda piece: not piece.leads):
        at = next((at for at, other in enumerate(kept) if other.shown.run.overlaps(piece.shown.run)), None)
        if at is None:
            kept.append(piece)
        elif piece.leads or kept[at].shown.by:
            kept[at] = replace(kept[at], shown=kept[at].shown.joined(piece.shown))
    return [_finding(number, piece) for number, piece in enumerate(kept, 1)]


def _as_read(part: str) -> str:
    """A part of a question without what it points back at, which the search was told: "How long? (lease agent)"."""
    return _POINTED.sub("", part)


def _leads(one: Answer, shown: ShownRun) -> bool:
    """Whether a run is shown on top: the best one, and one that says the same with other numbers."""
    return one.answers and (shown is one.shown[0] or differ(shown.run, one.shown[0].run))


def _finding(number: int, piece: _FoundRun) -> Finding:
    item = piece.shown.run.passage.evidence
    others = list(dict.fromkeys(other.evidence.id for other in piece.shown.also if other.evidence.id != item.id))[
        :MAX_ALSO
    ]
    return Finding(
        id=f"f{number}",
        answers=piece.leads,
        by=piece.shown.by,
        said=piece.shown.said,
        statement=piece.shown.run.text,
        topic=item.heading or item.title,
        evidence=[item.id, *others],
        support="weak" if not piece.answers else "strong" if others else "moderate",
        score=round(min(1.0, piece.shown.run.value / BEST), 3),
        question=_as_read(piece.question),
    )


def _sources(items: Sequence[Evidence], cited: dict[str, None]) -> list[Evidence]:
    by_id = {item.id: item for item in items}
    rest = [item for item in items if item.id not in cited]
    return [*(by_id[id_] for id_ in cited), *rest][: max(len(cited), MAX_SOURCES)]
