"""An agent of Pydantic AI as a worker: its tool tells the task's watchers what it does."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pydantic_ai
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers.openai import OpenAIProvider

from shared.worker import Agent, Context, Missing, Reply, StepRequest, Usage, note, serve_worker

PRICES = {"lamp": 12, "chair": 49}
PROVIDER = OpenAIProvider(base_url=os.environ["MODEL_API_URL"], api_key=os.environ.get("MODEL_API_KEY", "none"))


class Noted(WrapperModel):
    """Notes each call of the model for the console."""

    async def request(self, *args: Any, **kwargs: Any) -> pydantic_ai.ModelResponse:
        with note("model", self.model_name) as cost:
            response = await super().request(*args, **kwargs)
            cost.usage = Usage.model_validate(response.usage, from_attributes=True)
        return response


MODEL = Noted(OpenAIChatModel(os.environ["MODEL_NAME"], provider=PROVIDER))
SHOP = pydantic_ai.Agent(MODEL, instructions="You know the shop's prices by your tool.", deps_type=Context)


@SHOP.tool
async def price(run: pydantic_ai.RunContext[Context], product: str) -> str:
    """The price of a product in euros."""
    await run.deps.progress(f"calls price({product!r})")
    with note("tool", "price"):
        return f"{PRICES[product]} euros" if product in PRICES else f"The shop does not sell {product}."


async def run(step: StepRequest, ctx: Context) -> Reply:
    question = "\n\n".join(map(str, [step.input or step.task_description, *step.upstream.values()]))
    spent, answer, missing = pydantic_ai.RunUsage(), None, []
    try:
        async with asyncio.timeout(ctx.seconds_left() - 1):  # a second before the step's end
            answer = (await SHOP.run(question, deps=ctx, usage=spent)).output
    except TimeoutError:
        missing.append(Missing(what="the answer", why="The model took too long."))
    usage = Usage(calls=spent.requests, input_tokens=spent.input_tokens, output_tokens=spent.output_tokens)
    return Reply({"answer": answer}, usage, missing)


def agent(state_dir: Path) -> Agent:
    return Agent(name="shop", description="Knows prices.", capabilities=("shop",), run=run, idempotent=True)


if __name__ == "__main__":
    serve_worker(agent)
