"""What the marks come to, as Markdown: counts by set, language, kind and half, times, and what went wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from tests.quality.scoring import Answer, Marks
from tests.quality.sets import Question

COLUMNS = ("first", "shown", "document_first", "document_in_three", "retrieved", "wrong_nothing")
TITLES = ("questions", "first", "shown", "document first", "in three", "retrieved", "wrong nothing", "admitted")


@dataclass(frozen=True)
class Result:
    """A question, what came back and its marks."""

    set_name: str
    question: Question
    answer: Answer
    marks: Marks


@dataclass(frozen=True)
class Run:
    """All answers of one Muster, and for each set the seconds from its start to an answer from the whole folder."""

    results: tuple[Result, ...]
    index_seconds: Mapping[str, float] = field(default_factory=dict)


Key = Callable[[Result], str]
GROUPS: dict[str, Key] = {
    "set": lambda r: r.set_name,
    "language": lambda r: r.question.language,
    "kind": lambda r: r.question.kind,
    "half": lambda r: f"{r.question.split}, {r.set_name}",
}


def figures(run: Run, before: Run | None = None) -> str:
    """Every table; where there is a run before, each cell has its figure and the new one: `3 → 5`."""
    tables = [_counts("", lambda r: "all", run, before), _counts("half", lambda r: r.question.split, run, before)]
    tables += [_counts(name, key, run, before) for name, key in GROUPS.items()]
    return "\n\n".join([*tables, _times(run, before)])


def misses(run: Run) -> str:
    """Each question of the development half that was not answered first: what was shown, and what was expected."""
    return "\n\n".join(_miss(r) for r in run.results if r.question.split == "dev" and not _good(r))


def as_data(run: Run) -> list[dict[str, object]]:
    """Everything, to look at afterwards."""
    return [
        {"set": r.set_name} | {key: asdict(getattr(r, key)) for key in ("question", "answer", "marks")}
        for r in run.results
    ]


def _counts(name: str, key: Key, run: Run, before: Run | None) -> str:
    rows: list[Sequence[str]] = [(name, *TITLES)]
    for value in sorted({key(r) for r in run.results}):
        row = _row([r for r in run.results if key(r) == value])
        if before is not None:
            old = _row([r for r in before.results if key(r) == value])
            row = [row[0], *(_change(was, now) for was, now in zip(old[1:], row[1:], strict=True))]
        rows.append((value, *row))
    return _markdown(rows)


def _row(some: Sequence[Result]) -> list[str]:
    """Answerable questions and their marks; of those without an answer, how many were admitted."""
    asked = [r.marks for r in some if not r.question.absent]
    absent = [r.marks for r in some if r.question.absent]
    counts = [str(sum(getattr(one, column) for one in asked)) for column in COLUMNS]
    return [str(len(asked)), *counts, f"{sum(one.admitted for one in absent)} of {len(absent)}" if absent else ""]


def _times(run: Run, before: Run | None) -> str:
    """Seconds a question took, half of them and 95 of 100 less, and seconds until the whole folder was read."""
    rows = [("seconds", "p50", "p95", "start and index")]
    for name in [*run.index_seconds, "all"]:
        row = _seconds(run, name)
        rows.append((name, *(map(_change, _seconds(before, name), row) if before is not None else row)))
    return _markdown(rows)


def _seconds(run: Run, name: str) -> tuple[str, str, str]:
    took = sorted(r.answer.seconds for r in run.results if name in ("all", r.set_name))
    index = f"{run.index_seconds[name]:.1f}" if name in run.index_seconds else ""
    return f"{_share(took, 0.5):.2f}", f"{_share(took, 0.95):.2f}", index


def _change(was: str, now: str) -> str:
    return f"{was.removesuffix(now[now.find(' of ') :]) if ' of ' in now else was} → {now}" if was else now


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head."""
    head, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, f"| --- |{' ---: |' * (len(rows[0]) - 1)}", *rest])


def _good(r: Result) -> bool:
    return r.marks.admitted if r.question.absent else r.marks.first


def _miss(r: Result) -> str:
    got = ", ".join(name for name, value in asdict(r.marks).items() if value) or "nothing"
    keys = " AND ".join(" / ".join(group) for group in r.question.keys)
    return "\n".join(
        [
            f"## {r.question.id} ({r.question.kind}): {r.question.ask}",
            "expected: " + ("an admission" if r.question.absent else f"{keys}   in {', '.join(r.question.pages)}"),
            f"marks:    {got}",
            f"sources:  {', '.join(r.answer.sources[:3])}",
            f"first:    {r.answer.summary[0][:700] if r.answer.summary else '(empty)'}",
        ]
    )


def _share(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
