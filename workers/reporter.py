"""The reporter: a report with citations, as Markdown, HTML or JSON, out of an analysis or whatever else arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast, get_args

from pydantic import JsonValue, ValidationError

from shared import rendering
from shared.contracts import Missing, StepRequest
from shared.definition import Agent, Context, Reply
from shared.errors import WorkerFault
from shared.report import Analysis, Cited, Evidence, NumberedSource, Report, ReportOutput, Section
from shared.settings import ModelSettings
from workers.analyzer import analysed_within
from workers.answering.given import given
from workers.answering.intake import document, intake
from workers.answering.topics import FURTHER
from workers.thinking.asking import MADE_WITH, Thinking, model_of

Form = Literal["markdown", "html", "json"]
MAX_TITLE = 110
MAX_SUMMARY = 4  # sentences
MADE = (
    "Made without a model: every statement is quoted, from {passages} in {documents}, and chosen and grouped by the "
    "words of the question."
)
MADE_FROM = "Made from findings of a model, each checked against the passages it cites: {passages} in {documents}."


def agent(state_dir: Path, model: ModelSettings | None = None) -> Agent:
    """The reporter as a value; it keeps nothing in `state_dir`, and writes with the model that the settings name."""
    chosen = model or ModelSettings()
    return Agent(
        name="reporter",
        description="Writes a report with citations out of findings: Markdown, HTML or JSON.",
        capabilities=("report",),
        run=run,
        open=lambda: model_of(chosen),
        max_concurrency=16,
    )


async def run(step: StepRequest, ctx: Context) -> Reply:
    """Reports `step.upstream`, or the text that it was given itself; the output is a ReportOutput.

    Its format is what `step.input["format"]` names; `ctx.state` is a model or None. Raises WorkerFault "bad_input" for
    a format that is none of markdown, html and json.
    """
    form, handed = _form(step), given(_without_format(step), ctx.ask)
    seconds = ctx.seconds_left()
    document_, analysis = await asyncio.to_thread(_composed, handed.question, handed.documents, step.missing, seconds)
    thinking = Thinking(ctx.state, ctx)
    if thinking and analysis is not None and analysis.findings:
        document_ = await _written(document_, analysis, thinking)
    text = await asyncio.to_thread(rendered, document_, form)
    output = ReportOutput(report=text, format=form, document=document_)
    return Reply(output=output.model_dump(), usage=thinking.usage, missing=[*handed.missing, *thinking.missing])


async def _written(plain: Report, analysis: Analysis, thinking: Thinking) -> Report:
    """The report as the model writes it, else the plain one, which says why."""
    from workers.thinking.report import written

    document_ = await written(plain, analysis, thinking)
    return document_ or plain.model_copy(update={"missing": [*plain.missing, *thinking.missing]})


def rendered(document_: Report, form: Form) -> str:
    """The report as text in a format."""
    if form == "json":
        return document_.model_dump_json(indent=2)
    return rendering.to_html(document_) if form == "html" else rendering.to_markdown(document_)


def compose(question: str, analysis: Analysis, missing: Sequence[Missing]) -> Report:
    """A report out of an analysis: the summary first, then findings by topic, where sources agree and differ."""
    question = question.strip() or analysis.question
    cited = [i for f in analysis.findings for i in f.evidence]
    cited += [i for a in analysis.agreements for i in a.evidence]
    cited += [i for c in analysis.contradictions for side in c.sides for i in side.evidence]
    by_id = {item.id: item for item in analysis.sources}
    numbered: dict[str, NumberedSource] = {}
    rendering.number_sources([by_id[i] for i in dict.fromkeys(cited) if i in by_id], numbered)
    answered = bool(analysis.findings)
    summary = _summary(analysis, numbered) if answered else _nothing(question, analysis)
    sections = _sections(analysis, numbered)
    if {one.statement for section in sections for one in section.findings} <= {one.statement for one in summary}:
        labels = {one.statement: one.support for section in sections for one in section.findings}
        summary = [one.model_copy(update={"support": labels.get(one.statement, "")}) for one in summary]
        sections = []  # the summary is all there is to say
    return Report(
        title=title(question),
        question=question,
        summary=summary,
        sections=sections,
        agreements=[
            Cited(statement=a.statement, citations=rendering.numbers(a.evidence, numbered)) for a in analysis.agreements
        ],
        contradictions=analysis.contradictions,
        key_terms=analysis.key_terms if answered else [],
        sources=list(numbered.values()),
        missing=list(missing),
        searched=analysis.searched,
        notes=analysis.notes,
        made=_made(analysis, numbered) if numbered else "",
    )


def title(question: str) -> str:
    """A title from a question: its first sentence, shortened at a word where it is long."""
    lines = rendering.clean(question, keep_lines=True).strip().splitlines()
    first = rendering.clean(lines[0]) if lines else ""
    if len(first) > MAX_TITLE:
        first = first.split(": ", 1)[0]
    if len(first) > MAX_TITLE:
        first = first[:MAX_TITLE].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"
    return first[:1].upper() + first[1:] if first else "Report"


def _composed(
    question: str, upstream: Mapping[str, JsonValue], missing: Sequence[Missing], seconds: float
) -> tuple[Report, Analysis | None]:
    """The report without a model, and the analysis that it was made from, if there was one."""
    analyses = [a for output in upstream.values() if (a := _analysis(output)) is not None]
    if analyses:
        analysis = _merged(analyses)
        return compose(question, analysis, missing), analysis
    found = intake(upstream)
    if (found.evidence and any(isinstance(o, dict) and "evidence" in o for o in upstream.values())) or not upstream:
        analysis = analysed_within(seconds, question, found)
        return compose(question, analysis, [*missing, *found.missing]), analysis
    return rendering.plain_report(title(question), question, upstream, missing), None


def _analysis(output: JsonValue) -> Analysis | None:
    if not isinstance(output, dict) or not isinstance(output.get("findings"), list):
        return None
    try:
        return Analysis.model_validate({"question": ""} | output)
    except ValidationError:
        return None


def _merged(analyses: Sequence[Analysis]) -> Analysis:
    if len(analyses) == 1:
        return analyses[0]
    sources: dict[str, Evidence] = {source.id: source for a in analyses for source in a.sources}
    return Analysis(
        question=analyses[0].question,
        findings=[f for a in analyses for f in a.findings],
        agreements=[x for a in analyses for x in a.agreements],
        contradictions=[x for a in analyses for x in a.contradictions],
        key_terms=list(dict.fromkeys(term for a in analyses for term in a.key_terms)),
        sources=list(sources.values()),
        searched=list(dict.fromkeys(s for a in analyses for s in a.searched)),
        thin=all(a.thin for a in analyses),
        notes=list(dict.fromkeys(note for a in analyses for note in a.notes)),
    )


def _summary(analysis: Analysis, numbered: Mapping[str, NumberedSource]) -> list[Cited]:
    """The best statement of each sub-question, then the best of the rest, at most four with what is disputed."""
    best = sorted(analysis.findings, key=lambda f: -f.score)
    firsts = [next(f for f in best if f.question == q) for q in dict.fromkeys(f.question for f in analysis.findings)]
    room = MAX_SUMMARY - bool(analysis.contradictions)
    wanted = room if len(firsts) > 1 else 3
    chosen = [*firsts, *(f for f in best if f not in firsts and f.score >= 0.6 * best[0].score)][: min(room, wanted)]
    summary = [Cited(statement=f.statement, citations=rendering.numbers(f.evidence, numbered)) for f in chosen]
    if analysis.contradictions:
        shown = analysis.contradictions[:3]
        about = "; ".join(c.about or "one matter" for c in shown)
        ids = [i for c in shown for side in c.sides for i in side.evidence]
        summary.append(Cited(statement=f"The sources differ on: {about}.", citations=rendering.numbers(ids, numbered)))
    return summary


def _nothing(question: str, analysis: Analysis) -> list[Cited]:
    read = analysis.passages or len(analysis.sources)
    said = (
        f"Nothing was found that answers this question: of {_count(read, 'passage')} read, none holds more than stray "
        "words of it."
        if read
        else "Nothing was found that answers this question."
    )
    return [Cited(statement=said, citations=[])]


def _sections(analysis: Analysis, numbered: Mapping[str, NumberedSource]) -> list[Section]:
    sections: dict[str, list[Cited]] = {}
    disputed = {side.statement for c in analysis.contradictions for side in c.sides}
    for f in analysis.findings:
        # Most findings have moderate support; only what differs from that tells a reader something.
        usual = "" if f.support == "moderate" else f"{f.support} support"
        support = "disputed" if f.statement in disputed else usual
        cited = Cited(statement=f.statement, citations=rendering.numbers(f.evidence, numbered), support=support)
        sections.setdefault(f.topic, []).append(cited)
    ordered = sorted(sections.items(), key=lambda section: section[0] == FURTHER)
    return [Section(title=topic, findings=findings) for topic, findings in ordered]


def _made(analysis: Analysis, numbered: Mapping[str, NumberedSource]) -> str:
    cited = [item for item in analysis.sources if item.id in numbered]
    documents = len({document(item) for item in cited})
    made = MADE_FROM if any(note.startswith(MADE_WITH) for note in analysis.notes) else MADE
    return made.format(passages=_count(len(cited), "passage"), documents=_count(documents, "document"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _form(step: StepRequest) -> Form:
    wanted = step.input.get("format") if isinstance(step.input, dict) else step.input
    for form in get_args(Form):
        if wanted == form:
            return cast(Form, form)
    handed_over = isinstance(step.input, str | list) and not step.upstream  # a text to report, not a format
    if wanted is None or handed_over:
        return "markdown"
    raise WorkerFault(f"The format must be markdown, html or json, not {wanted!r}.", type="bad_input")


def _without_format(step: StepRequest) -> StepRequest:
    return step.model_copy(update={"input": None}) if step.input in get_args(Form) else step


if __name__ == "__main__":
    from shared.serve import load_settings, serve_worker

    serve_worker(lambda state_dir: agent(state_dir, load_settings(ModelSettings)), default_port=8003)
