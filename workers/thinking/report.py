"""A report that a model writes out of findings, of which only what cites them is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from shared import rendering
from shared.errors import ContextTooSmall
from shared.report import Analysis, Cited, NumberedSource, Report, Section
from workers.thinking.asking import Thinking
from workers.thinking.checks import FromModel, Text, line

MAX_TITLE = 110
MAX_STATEMENT = 800  # characters
MAX_SUMMARY = 6  # statements
MAX_SECTIONS = 12
REPLY_TOKENS = 2_500
DISPUTED = "disputed"
INSTRUCTIONS = """You write a report out of findings that others made. Use nothing but the findings, no other knowledge.

Each finding stands on a line of its own after the numbers of its sources, such as [1, 3]. Give
- title: a title for the report, in at most ten words;
- summary: two to four statements that answer the question;
- sections: the findings by topic, each section with a title and its statements.
A statement is one or two sentences of plain text. Give with each as citations the numbers of the sources that its
findings have, and no other number; a statement without one is of no use. Say what is disputed as disputed."""


class ModelCited(FromModel):
    statement: Text
    citations: Annotated[list[int | Text], Field(max_length=200)] = Field(default_factory=list)


class ModelSection(FromModel):
    title: Text = ""
    statements: Annotated[list[ModelCited], Field(max_length=200)] = Field(default_factory=list)


class ModelReport(FromModel):
    """What a model is asked for."""

    title: Text = ""
    summary: Annotated[list[ModelCited], Field(max_length=200)]
    sections: Annotated[list[ModelSection], Field(max_length=200)] = Field(default_factory=list)


async def written(plain: Report, analysis: Analysis, thinking: Thinking) -> Report | None:
    """The plain report in a model's words; None where nothing holds, and `thinking` knows why.

    Sources, agreements, contradictions and what is missing stay as the plain report has them.
    """
    from shared.models.fence import DATA_RULE, fenced

    if not analysis.findings:
        return None
    instructions = f"{INSTRUCTIONS}\n{DATA_RULE}"
    numbered = {source.id: source for source in plain.sources}
    room = (
        thinking.room(instructions=instructions, shape=ModelReport, reply_tokens=REPLY_TOKENS)
        - len(plain.question)
        - 200
    )
    lines = _fitting(_lines(analysis, numbered), room)
    if not lines:
        thinking.failed("What the step may spend does not suffice for a single finding.")
        return None
    try:
        said = await thinking.asked(
            instructions=instructions,
            data=f"The question:\n{fenced(line(plain.question))}\n\nThe findings:\n{fenced(chr(10).join(lines))}",
            shape=ModelReport,
            reply_tokens=REPLY_TOKENS,
        )
    except ContextTooSmall:
        return await written(plain, analysis, thinking)
    if said is None:
        return None
    report = checked(said, plain, analysis)
    if not report.summary and not report.sections:
        thinking.failed("Nothing that it wrote cites a source.")
        return None
    made = f"Written by {thinking.name} out of findings; every statement cites sources that the findings have."
    return report.model_copy(update={"made": made, "written": True, "notes": [*report.notes, *_left_out(said, report)]})


def checked(said: ModelReport, plain: Report, analysis: Analysis) -> Report:
    """What of a model's report cites sources that exist, in the place of the plain report's own words."""
    known = {source.number for source in plain.sources}
    disputed = {n for c in analysis.contradictions for side in c.sides for n in _numbers(side.evidence, plain)}
    summary = _kept(said.summary, known, disputed)[:MAX_SUMMARY]
    sections = [Section(title=line(s.title)[:90], findings=_kept(s.statements, known, disputed)) for s in said.sections]
    title = line(said.title)
    return plain.model_copy(
        update={
            "title": title if 2 < len(title) <= MAX_TITLE and "://" not in title else plain.title,
            "summary": summary,
            "sections": [section for section in sections if section.findings][:MAX_SECTIONS],
        }
    )


def _kept(said: Sequence[ModelCited], known: set[int], disputed: set[int]) -> list[Cited]:
    kept: dict[str, Cited] = {}
    for one in said:
        statement, citations = line(one.statement), sorted(_cited(one.citations) & known)
        if citations and 0 < len(statement) <= MAX_STATEMENT:
            support = DISPUTED if disputed.issuperset(citations) else ""
            kept.setdefault(statement, Cited(statement=statement, citations=citations, support=support))
    return list(kept.values())


def _cited(given: Sequence[int | str]) -> set[int]:
    """Citation numbers, which some models write as "[3]"."""
    numbers = (str(one).strip("[] ") for one in given)
    return {int(number) for number in numbers if number.isdecimal() and len(number) < 9}


def _lines(analysis: Analysis, numbered: Mapping[str, NumberedSource]) -> list[str]:
    """Findings and what is disputed, as the model reads them, those without a source left out."""
    lines = [
        f"{rendering.numbers(f.evidence, numbered)} {line(f.statement)} (topic: {line(f.topic)}; {f.support} support)"
        for f in analysis.findings
        if rendering.numbers(f.evidence, numbered)
    ]
    for one in analysis.contradictions:
        sides = "; ".join(f"{rendering.numbers(s.evidence, numbered)} {line(s.statement)}" for s in one.sides)
        lines.append(f"Disputed: {line(one.about)}: {sides}")
    return lines


def _fitting(lines: Sequence[str], room: int) -> list[str]:
    kept: list[str] = []
    for one in lines:
        room -= len(one) + 1
        if room < 0:
            break
        kept.append(one)
    return kept


def _left_out(said: ModelReport, report: Report) -> list[str]:
    given = len(said.summary) + sum(len(section.statements) for section in said.sections)
    kept = len(report.summary) + sum(len(section.findings) for section in report.sections)
    return (
        [f"{given - kept} of the model's {given} statements were left out: they cite no source."]
        if kept < given
        else []
    )


def _numbers(ids: Sequence[str], plain: Report) -> list[int]:
    return rendering.numbers(ids, {source.id: source for source in plain.sources})
