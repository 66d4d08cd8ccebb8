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
from shared.report import Analysis, AskedWord, Cited, Evidence, Finding, NumberedSource, Report, ReportOutput, Section
from shared.settings import ModelSettings
from workers.analyzer import analysed_within
from workers.answering.given import given
from workers.answering.intake import document, intake
from workers.thinking.asking import MADE_WITH, Thinking, model_of

Form = Literal["markdown", "html", "json"]
MAX_TITLE = 110
YOURS = "Your documents do"
MORE = "More from these documents"
NEAREST = "Nearest passages"
MADE = (
    "Made without a model: everything shown is quoted, from {passages} in {documents}, and chosen by the words of the "
    "question."
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
        summary=[*(_cited(f, numbered) for f in leads), *_admitted(analysis, leads)],
        sections=_sections(rest, numbered, answered=bool(leads)),
        agreements=[
            Cited(statement=a.statement, citations=rendering.numbers(a.evidence, numbered)) for a in analysis.agreements
        ],
        contradictions=analysis.contradictions,
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
    words: dict[str, AskedWord] = {word.word: word for a in analyses for word in a.words}
    judged = [a.answered for a in analyses if a.answered is not None]
    return Analysis(
        question=analyses[0].question,
        findings=[f for a in analyses for f in a.findings],
        answered=any(judged) if judged else None,
        confidence=max(a.confidence for a in analyses),
        words=list(words.values()),
        agreements=[x for a in analyses for x in a.agreements],
        contradictions=[x for a in analyses for x in a.contradictions],
        sources=list(sources.values()),
        searched=list(dict.fromkeys(s for a in analyses for s in a.searched)),
        thin=all(a.thin for a in analyses),
        unanswered=list(dict.fromkeys(part for a in analyses for part in a.unanswered)),
        notes=list(dict.fromkeys(note for a in analyses for note in a.notes)),
    )


def _leads(analysis: Analysis) -> list[Finding]:
    """What is shown as the answer. An analyzer that marks nothing means the best finding for each question."""
    if analysis.answered is False:
        return []
    marked = [f for f in analysis.findings if f.answers]
    best = sorted(analysis.findings, key=lambda f: -f.score)
    firsts = {f.question: f for f in reversed(best)}
    return marked or [f for f in best if firsts[f.question] is f]


def _admitted(analysis: Analysis, leads: Sequence[Finding]) -> list[Cited]:
    """That nothing answers, or what of the question nothing answers; empty where all is answered."""
    where = "The pages found do" if all(item.provider not in ("", "local") for item in analysis.sources) else YOURS
    where = YOURS if not analysis.sources else where
    if not leads:
        nobody = [word.word for word in analysis.words if not word.passages and word.weight]
        mentions = f" None of them mentions: {', '.join(nobody)}." if nobody else ""
        return [Cited(statement=f"{where} not seem to answer this.{mentions}", citations=[])]
    return [Cited(statement=f"{where} not seem to answer “{part}”.", citations=[]) for part in analysis.unanswered]


def _sections(findings: Sequence[Finding], numbered: Mapping[str, NumberedSource], *, answered: bool) -> list[Section]:
    shown = [_cited(f, numbered) for f in findings]
    return [Section(title=MORE if answered else NEAREST, findings=shown)] if shown else []


def _cited(finding: Finding, numbered: Mapping[str, NumberedSource]) -> Cited:
    # In the order of the finding: the passage that is quoted first, then those that say the same.
    citations = [numbered[id_].number for id_ in finding.evidence if id_ in numbered]
    return Cited(statement=finding.statement, citations=list(dict.fromkeys(citations)), question=finding.question)


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
