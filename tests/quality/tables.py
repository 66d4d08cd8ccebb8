"""What the marks come to: counts by set, language and kind, as rows and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from tests.quality.scoring import Answer, Marks
from tests.quality.sets import Question

COLUMNS = ("first", "shown", "document_first", "document_in_three", "retrieved", "wrong_nothing")
TITLES = ("", "questions", "first", "shown", "document first", "in three", "retrieved", "wrong nothing", "admitted")


@dataclass(frozen=True)
class Result:
    """A question, what came back and its marks."""

    set_name: str
    question: Question
    answer: Answer
    marks: Marks


def table(results: Sequence[Result]) -> str:
    """Counts for all questions and by set, language and kind; `dev` and `held` apart from each other."""
    groups: dict[str, list[Result]] = {"**all**": list(results)}
    by: tuple[Callable[[Result], str], ...] = (
        lambda r: f"*{r.question.split}*",
        lambda r: r.set_name,
        lambda r: f"language {r.question.language}",
        lambda r: f"kind {r.question.kind}",
    )
    for key in by:
        for name in sorted({key(r) for r in results}):
            groups[name] = [r for r in results if key(r) == name]
    return markdown([TITLES, *(_row(name, some) for name, some in groups.items())])


def times(results: Sequence[Result], index_seconds: Mapping[str, float]) -> str:
    """Seconds a question took, and from the start of the services to the first answer from the whole folder."""
    rows = [("", "p50", "p95", "start and index")]
    for name, seconds in index_seconds.items():
        took = sorted(r.answer.seconds for r in results if r.set_name == name)
        rows.append((name, f"{_share(took, 0.5):.2f}", f"{_share(took, 0.95):.2f}", f"{seconds:.1f}"))
    took = sorted(r.answer.seconds for r in results)
    rows.append(("**all**", f"{_share(took, 0.5):.2f}", f"{_share(took, 0.95):.2f}", ""))
    return markdown(rows)


def misses(results: Sequence[Result]) -> str:
    """Each question of the development half that was not answered first: what was shown, and what was expected."""
    return "\n\n".join(_miss(r) for r in results if r.question.split == "dev" and not _good(r))


def as_data(results: Sequence[Result]) -> list[dict[str, object]]:
    """Everything, for a file that later runs are compared with."""
    return [
        {"id": r.question.id, "set": r.set_name, "question": asdict(r.question), "answer": asdict(r.answer)}
        | {"marks": asdict(r.marks)}
        for r in results
    ]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head."""
    head, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *rest])


def _row(name: str, some: Sequence[Result]) -> tuple[str, ...]:
    asked = [r.marks for r in some if not r.question.absent]
    absent = [r.marks for r in some if r.question.absent]
    counts = (str(sum(getattr(one, column) for one in asked)) for column in COLUMNS)
    admitted = f"{sum(one.admitted for one in absent)} of {len(absent)}" if absent else ""
    return (name, str(len(asked)), *counts, admitted)


def _good(r: Result) -> bool:
    return r.marks.admitted if r.question.absent else r.marks.first


def _miss(r: Result) -> str:
    got = ", ".join(name for name, value in asdict(r.marks).items() if value) or "nothing"
    first = r.answer.summary[0][:700] if r.answer.summary else "(empty)"
    keys = " AND ".join(" / ".join(group) for group in r.question.keys)
    expected = "an admission" if r.question.absent else f"{keys}   in {', '.join(r.question.pages)}"
    sources = ", ".join(r.answer.sources[:3])
    return "\n".join(
        [
            f"## {r.question.id} ({r.question.kind}): {r.question.ask}",
            f"expected: {expected}",
            f"marks:    {got}",
            f"sources:  {sources}",
            f"first:    {first}",
        ]
    )


def _share(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
