"""An agent of OpenAI's Agents SDK as a worker; its tool tells the task's watchers what it does."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import agents
from openai import AsyncOpenAI

from shared.worker import Agent, Context, Missing, Reply, StepRequest, Usage, note, serve_worker

PRICES = {"lamp": 12, "chair": 49}
CLIENT = AsyncOpenAI(base_url=os.environ["MODEL_API_URL"], api_key=os.environ.get("MODEL_API_KEY", "none"))


class Counting(agents.OpenAIChatCompletionsModel):
    """Counts what a run spends, also when it is cut off, and notes each call for the console."""

    usage = Usage()

    async def get_response(self, *args: Any, **kwargs: Any) -> agents.ModelResponse:
        with note("model", self.model) as cost:
            response = await super().get_response(*args, **kwargs)
            cost.usage = Usage.model_validate(response.usage, from_attributes=True) + Usage(calls=1)
        self.usage += cost.usage
        return response


@agents.function_tool
async def price(run: agents.RunContextWrapper[Context], product: str) -> str:
    """The price of a product in euros."""
    await run.context.progress(f"calls price({product!r})")
    with note("tool", "price"):
        return f"{PRICES[product]} euros" if product in PRICES else f"The shop does not sell {product}."


SHOP = agents.Agent("shop", instructions="You know the shop's prices by your tool.", tools=[price])


async def run(step: StepRequest, ctx: Context) -> Reply:
    question = "\n\n".join(map(str, [step.input or step.task_description, *step.upstream.values()]))
    model, answer, missing = Counting(os.environ["MODEL_NAME"], CLIENT), None, []
    try:
        async with asyncio.timeout(ctx.seconds_left() - 1):  # a second before the step's end
            only_here = agents.RunConfig(model=model, tracing_disabled=True)  # traces would go to OpenAI
            answer = (await agents.Runner.run(SHOP, question, context=ctx, run_config=only_here)).final_output
    except TimeoutError:
        missing.append(Missing(what="the answer", why="The model took too long."))
    return Reply({"answer": answer}, model.usage, missing)


def agent(state_dir: Path) -> Agent:
    return Agent(name="shop", description="Knows prices.", capabilities=("shop",), run=run, idempotent=True)


if __name__ == "__main__":
    serve_worker(agent)
