"""A report out of an analysis: the answer to each part of the question first, then more, no statement twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile

from shared import rendering
from shared.contracts import Missing
from shared.report.model import Analysis, Cited, Finding, NumberedSource, Report, Section
from workers.answering.intake import document

MAX_TITLE = 110
YOURS = "Your documents do"
MORE = "More from these documents"
NEAREST = "Nearest passages"
MADE = (
    "Made without a model: everything shown is quoted, from {passages} in {documents}, and chosen by the words of the "
    "question."
)
MADE_FROM = (
    "Made from findings of a model ({models}), each checked against the sentences it cites, and of what the words of "
    "the question find: {passages} in {documents}."
)


def compose(question: str, analysis: Analysis, missing: Sequence[Missing]) -> Report:
    """A report out of an analysis: the answer to each part of the question first, then more; no statement twice."""
    question = question.strip() or analysis.question
    by_id = {item.id: item for item in analysis.sources}
    numbered: dict[str, NumberedSource] = {}
    leads = _leads(analysis)
    rest = [f for f in analysis.findings if f not in leads]
    cited = [i for f in [*leads, *rest] for i in f.evidence]
    cited += [i for a in analysis.agreements for i in a.evidence]
    cited += [i for c in analysis.contradictions for side in c.sides for i in side.evidence]
    rendering.number_sources([by_id[i] for i in dict.fromkeys(cited) if i in by_id], numbered)
    return Report(
        title=title(question),
        question=question,
        answered=analysis.answered,
        confidence=analysis.confidence,
        words=analysis.words,
        summary=[*(_cite(f, numbered) for f in leads), *_list_unanswered(analysis, leads)],
        sections=_sections(rest, numbered, answered=bool(leads)),
        agreements=[
            Cited(statement=a.statement, citations=rendering.numbers(a.evidence, numbered)) for a in analysis.agreements
        ],
        contradictions=analysis.contradictions,
        sources=list(numbered.values()),
        missing=list(missing),
        searched=analysis.searched,
        notes=analysis.notes,
        made=_describe_method(analysis, numbered) if numbered else "",
    )


def beginning(question: str, analysis: Analysis) -> Report | None:
    """Of an analysis that a model still adds to, how the report will begin whatever comes; None while that is open."""
    report = compose(question, analysis, [])
    if analysis.answered:
        leads = _leads(analysis)
        count = len(list(takewhile(lambda finding: finding.by, leads)))
        if count < min(2, len(leads)):  # of several parts each gets its heading, and one alone has none
            return None
        report.summary = report.summary[:count]
    shown = {number for item in report.summary for number in item.citations}
    sources = [source for source in report.sources if source.number in shown]
    return report.model_copy(update={"sections": [], "sources": sources, "searched": [], "notes": [], "made": ""})


def title(question: str) -> str:
    """A title from a question: its first sentence, shortened at a word where it is long."""
    lines = rendering.clean(question, keep_lines=True).strip().splitlines()
    first = rendering.clean(lines[0]) if lines else ""
    if len(first) > MAX_TITLE:
        first = first.split(": ", 1)[0]
    if len(first) > MAX_TITLE:
        first = first[:MAX_TITLE].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"
    return first[:1].upper() + first[1:] if first else "Report"


def _leads(analysis: Analysis) -> list[Finding]:
    """What is shown as the answer. An analyzer that marks nothing means the best finding for each question."""
    if analysis.answered is False:
        return []
    marked = [f for f in analysis.findings if f.answers]
    best = sorted(analysis.findings, key=lambda f: -f.score)
    firsts = {f.question: f for f in reversed(best)}
    return marked or [f for f in best if firsts[f.question] is f]


def _list_unanswered(analysis: Analysis, leads: Sequence[Finding]) -> list[Cited]:
    """That nothing answers, or what of the question nothing answers; empty where all is answered."""
    where = "The pages found do" if all(item.provider not in ("", "local") for item in analysis.sources) else YOURS
    where = YOURS if not analysis.sources else where
    if not leads:
        nobody = [word.word for word in analysis.words if not word.passages and word.weight]
        mentions = f" None of them mentions: {', '.join(nobody)}." if nobody else ""
        return [Cited(statement=f"{where} not seem to answer this.{mentions}", citations=[])]
    return [Cited(statement=f"{where} not seem to answer “{part}”.", citations=[]) for part in analysis.unanswered]


def _sections(findings: Sequence[Finding], numbered: Mapping[str, NumberedSource], *, answered: bool) -> list[Section]:
    shown = [_cite(f, numbered) for f in findings]
    return [Section(title=MORE if answered else NEAREST, findings=shown)] if shown else []


def _cite(finding: Finding, numbered: Mapping[str, NumberedSource]) -> Cited:
    # In the order of the finding: the passage that is quoted first, then those that say the same.
    citations = [numbered[id_].number for id_ in finding.evidence if id_ in numbered]
    return Cited(
        statement=finding.statement,
        citations=list(dict.fromkeys(citations)),
        question=finding.question,
        said=finding.said,
    )


def _describe_method(analysis: Analysis, numbered: Mapping[str, NumberedSource]) -> str:
    cited = [item for item in analysis.sources if item.id in numbered]
    documents = len({document(item) for item in cited})
    models = dict.fromkeys(rendering.clean(finding.by) for finding in analysis.findings if finding.by)
    made = MADE_FROM if models else MADE
    return made.format(
        models=", ".join(models), passages=_count(len(cited), "passage"), documents=_count(documents, "document")
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
