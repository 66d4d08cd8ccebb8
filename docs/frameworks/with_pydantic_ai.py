"""An agent of Pydantic AI as a worker: its tool tells the task's watchers what it does."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

import pydantic_ai
from pydantic_ai import RunContext, RunUsage
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from shared.worker import Agent, Context, Missing, Reply, StepRequest, Usage, serve_worker

PRICES = {"lamp": 12, "chair": 49}
PROVIDER = OpenAIProvider(base_url=os.environ["MODEL_API_URL"], api_key=os.environ.get("MODEL_API_KEY", "none"))
MODEL = OpenAIChatModel(os.environ["MODEL_NAME"], provider=PROVIDER)


@dataclass
class Watch:
    """What a run's tools know of the step, and what they have done."""

    ctx: Context
    tools: list[str] = field(default_factory=list)


SHOP = pydantic_ai.Agent(MODEL, instructions="You know the shop's prices by your tool.", deps_type=Watch)


@SHOP.tool
async def price(run: RunContext[Watch], product: str) -> str:
    """The price of a product in euros."""
    run.deps.tools.append(f"price({product!r})")
    await run.deps.ctx.progress(f"calls {run.deps.tools[-1]}")
    return f"{PRICES[product]} euros" if product in PRICES else f"The shop does not sell {product}."


async def run(step: StepRequest, ctx: Context) -> Reply:
    question = "\n\n".join(map(str, [step.input or step.task_description, *step.upstream.values()]))
    watch, spent, answer, missing = Watch(ctx), RunUsage(), None, []
    try:
        async with asyncio.timeout(ctx.seconds_left() - 1):  # a second before the step's end
            answer = (await SHOP.run(question, deps=watch, usage=spent)).output
    except TimeoutError:
        missing.append(Missing(what="the answer", why="The model took too long."))
    usage = Usage(calls=spent.requests, input_tokens=spent.input_tokens, output_tokens=spent.output_tokens)
    return Reply({"answer": answer, "tools": watch.tools}, usage, missing)


def agent(state_dir: Path) -> Agent:
    return Agent(name="shop", description="Knows prices.", capabilities=("shop",), run=run, idempotent=True)


if __name__ == "__main__":
    serve_worker(agent)
