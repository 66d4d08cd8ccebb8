"""The reporter: a report with citations, as Markdown, HTML or JSON, out of an analysis or whatever else arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

import httpx
from pydantic import JsonValue, ValidationError

from shared import rendering
from shared.agent import Agent, Context, Reply
from shared.contracts import Missing, StepRequest
from shared.errors import WorkerFault
from shared.report.model import Analysis, AskedWord, Evidence, Report, ReportOutput
from workers.analyzer import analyse_within
from workers.answering.composing import compose, title
from workers.answering.given import collect_input
from workers.answering.intake import intake

Form = Literal["markdown", "html", "json"]


def agent(state_dir: Path) -> Agent:
    """The reporter as a value; it keeps nothing in `state_dir`, and asks no model: it shows what the analyzer found."""
    return Agent(
        name="reporter",
        description="Writes a report with citations out of findings: Markdown, HTML or JSON.",
        capabilities=("report",),
        run=run,
        max_concurrency=16,
        idempotent=True,
        recipe={"module": "workers.reporter"},
    )


def rebuild(recipe: Mapping[str, Any], *, inner: httpx.AsyncBaseTransport) -> Agent:
    """The agent of a recipe, for a replay."""
    return agent(Path())


async def run(step: StepRequest, ctx: Context) -> Reply:
    """Reports `step.upstream`, or the text that it was given itself; the output is a ReportOutput.

    Its format is what `step.input["format"]` names. Raises WorkerFault "bad_input" for a format that is none of
    markdown, html and json.
    """
    form, handed = _form(step), collect_input(_without_format(step), ctx.ask)
    seconds = ctx.seconds_left()
    document_ = await asyncio.to_thread(_compose_upstream, handed.question, handed.documents, step.missing, seconds)
    text = await asyncio.to_thread(render, document_, form)
    output = ReportOutput(report=text, format=form, document=document_)
    return Reply(output=output.model_dump(), missing=handed.missing)


def render(document_: Report, form: Form) -> str:
    """The report as text in a format."""
    if form == "json":
        return document_.model_dump_json(indent=2)
    return rendering.to_html(document_) if form == "html" else rendering.to_markdown(document_)


def _compose_upstream(
    question: str, upstream: Mapping[str, JsonValue], missing: Sequence[Missing], seconds: float
) -> Report:
    """The report of what other steps delivered: of analyses, of evidence, or of anything else."""
    analyses = [a for output in upstream.values() if (a := _analysis(output)) is not None]
    if analyses:
        return compose(question, _merge(analyses), missing)
    found = intake(upstream)
    if (found.evidence and any(isinstance(o, dict) and "evidence" in o for o in upstream.values())) or not upstream:
        analysis = analyse_within(seconds, question, found)
        return compose(question, analysis, [*missing, *found.missing])
    return rendering.plain_report(title(question), question, upstream, missing)


def _analysis(output: JsonValue) -> Analysis | None:
    if not isinstance(output, dict) or not isinstance(output.get("findings"), list):
        return None
    try:
        return Analysis.model_validate({"question": ""} | output)
    except ValidationError:
        return None


def _merge(analyses: Sequence[Analysis]) -> Analysis:
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
    from shared.worker.main import serve_worker

    serve_worker(agent, default_port=8003)
