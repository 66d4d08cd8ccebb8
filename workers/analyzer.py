"""The analyzer: finds what answers the question in the evidence of earlier steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from shared.agent import Agent, Context, Reply
from shared.contracts import StepRequest
from shared.recording.tape import read
from shared.report.model import Analysis
from shared.settings import ModelSettings, SemanticSettings, load_settings
from workers.answering.analysis import Reading, analysis
from workers.answering.analysis import read as read_passages
from workers.answering.answer import Answer
from workers.answering.composing import beginning
from workers.answering.given import collect_input
from workers.answering.intake import Intake, intake
from workers.semantic.reranker import Reranker, absent_reranker, reranker_of
from workers.thinking.asking import Thinking, model_of, model_recipe, played_model

if TYPE_CHECKING:
    from shared.models.model import LanguageModel

READING_SHARE = 0.5  # of a step's time, after which no further passage is read


@dataclass(frozen=True)
class AnalyzerServices:
    """What the analyzer works with, where the settings ask for it: a model, and what compares meanings."""

    model: LanguageModel | None = None
    reranker: Reranker | None = None


def agent(state_dir: Path, model: ModelSettings | None = None, semantic: SemanticSettings | None = None) -> Agent:
    """The analyzer as a value; it keeps nothing in `state_dir`, and thinks with the model that the settings name."""
    chosen, chosen_semantic = model or ModelSettings(), semantic or SemanticSettings()

    @asynccontextmanager
    async def opened() -> AsyncIterator[AnalyzerServices]:
        async with reranker_of(chosen_semantic) as reranker, model_of(chosen) as thinker:
            yield AnalyzerServices(thinker, reranker)

    return _agent(opened, {"model": model_recipe(chosen), "semantic": chosen_semantic.semantic})


def rebuild(recipe: Mapping[str, Any], *, inner: httpx.AsyncBaseTransport) -> Agent:
    """The agent of a recipe, for a replay: the record answers for the model, and for what compares meanings."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[AnalyzerServices]:
        yield AnalyzerServices(played_model(recipe["model"]), absent_reranker() if recipe["semantic"] else None)

    return _agent(opened, recipe)


def _agent(opened: Callable[[], AbstractAsyncContextManager[AnalyzerServices]], recipe: Mapping[str, Any]) -> Agent:
    return Agent(
        name="analyzer",
        description="Finds what answers the question in the evidence, and says when nothing does.",
        capabilities=("analyze",),
        run=run,
        open=opened,
        max_concurrency=8,
        idempotent=True,
        recipe={"module": "workers.analyzer", **recipe},
    )


async def run(step: StepRequest, ctx: Context) -> Reply:
    """Analyses `step.upstream`, or the text that it was given; the output is an Analysis.

    `ctx.state` is an `AnalyzerServices`. What could not be read, and why the model was not used, is in `missing`.
    With a model, the report is sent as it grows.
    """
    handed = collect_input(step, ctx.ask)
    found = intake(handed.documents)
    await ctx.progress(f"Reading {len(found.evidence)} passages")
    desk: AnalyzerServices = ctx.state
    thinking = Thinking(desk.model, ctx, "analysis")
    reading = await asyncio.to_thread(read_within, ctx.seconds_left(), handed.question, found, desk.reranker)
    answers, notes = await _thought(reading, thinking, ctx)
    made = await asyncio.to_thread(analysis, reading, answers)
    made.notes.extend(notes)
    missing = [*handed.missing, *found.missing, *thinking.missing]
    return Reply(output=made.model_dump(), usage=thinking.usage, missing=missing)


async def _thought(reading: Reading, thinking: Thinking, ctx: Context) -> tuple[Sequence[Answer] | None, list[str]]:
    """The answers with what a model chose, and notes on it; None where the words of the question decide alone."""
    if not (thinking and any(one.shown for one in reading.answers)):
        return None, []
    from workers.thinking.analysis import thought

    async def heard(answers: Sequence[Answer]) -> None:
        if report := beginning(reading.task, analysis(reading, answers)):
            await ctx.progress("The answer is being written", report=report.model_dump())

    return await thought(reading, thinking, ctx, heard)


def analyse_within(seconds: float, task: str, found: Intake) -> Analysis:
    """`analyse`, which reads no more passages than it can in half of these seconds."""
    return analysis(read_within(seconds, task, found))


def read_within(seconds: float, task: str, found: Intake, reranker: Reranker | None = None) -> Reading:
    """`read`, of no more passages than it can in half of these seconds."""
    began = time.monotonic()

    def left() -> float:
        return seconds - (time.monotonic() - began)

    def near(question: str, texts: Sequence[str]) -> list[float]:
        return read("meaning", lambda: reranker.scores(question, texts, left())) if reranker else []

    reading_over = (1 - READING_SHARE) * max(0.0, seconds)

    def late() -> bool:
        return read("late", lambda: left() < reading_over)

    return read_passages(task, found, late, near if reranker else None)


if __name__ == "__main__":
    from shared.worker.main import serve_worker

    serve_worker(
        lambda state_dir: agent(state_dir, load_settings(ModelSettings), load_settings(SemanticSettings)),
        default_port=8002,
    )
