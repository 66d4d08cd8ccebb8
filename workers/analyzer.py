"""The analyzer: what answers the question in the evidence that the steps before it delivered."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from shared.contracts import StepRequest
from shared.definition import Agent, Context, Reply
from shared.report import Analysis
from shared.settings import ModelSettings
from workers.answering.analysis import analyse
from workers.answering.given import given
from workers.answering.intake import Intake, intake
from workers.thinking.asking import Thinking, model_of

READING_SHARE = 0.5  # of a step's time, after which no further passage is read


def agent(state_dir: Path, model: ModelSettings | None = None) -> Agent:
    """The analyzer as a value; it keeps nothing in `state_dir`, and thinks with the model that the settings name."""
    chosen = model or ModelSettings()
    return Agent(
        name="analyzer",
        description="Finds what answers the question in the evidence, and says when nothing does.",
        capabilities=("analyze",),
        run=run,
        open=lambda: model_of(chosen),
        max_concurrency=8,
    )


async def run(step: StepRequest, ctx: Context) -> Reply:
    """Analyses `step.upstream`, or the text that it was given; the output is an Analysis.

    `ctx.state` is a model or None. What could not be read, and why the model was not used, is in `missing`.
    """
    handed = given(step, ctx.ask)
    found = intake(handed.documents)
    await ctx.progress(f"Reading {len(found.evidence)} passages")
    thinking = Thinking(ctx.state, ctx)
    analysis = await _thought(handed.question, found, thinking)
    if analysis is None:
        analysis = await asyncio.to_thread(analysed_within, ctx.seconds_left(), handed.question, found)
    missing = [*handed.missing, *found.missing, *thinking.missing]
    return Reply(output=analysis.model_dump(), usage=thinking.usage, missing=missing)


async def _thought(task: str, found: Intake, thinking: Thinking) -> Analysis | None:
    if not (thinking and found.evidence):
        return None
    from workers.thinking.analysis import analysed

    return await analysed(task, found, thinking)


def analysed_within(seconds: float, task: str, found: Intake) -> Analysis:
    """`analyse`, which reads no more passages than it can in half of these seconds."""
    ends = time.monotonic() + READING_SHARE * max(0.0, seconds)
    return analyse(task, found, lambda: time.monotonic() > ends)


if __name__ == "__main__":
    from shared.serve import load_settings, serve_worker

    serve_worker(lambda state_dir: agent(state_dir, load_settings(ModelSettings)), default_port=8002)
