"""An agent of Microsoft's Agent Framework, which follows AutoGen, as a worker; middleware tells what it does."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import agent_framework
from agent_framework.openai import OpenAIChatCompletionClient

from shared.worker import Agent, Context, Missing, Reply, StepRequest, Usage, note, serve_worker

PRICES = {"lamp": 12, "chair": 49}
URL, KEY = os.environ["MODEL_API_URL"], os.environ.get("MODEL_API_KEY", "none")
CLIENT = OpenAIChatCompletionClient(os.environ["MODEL_NAME"], base_url=URL, api_key=KEY)


def price(product: str) -> str:
    """The price of a product in euros."""
    return f"{PRICES[product]} euros" if product in PRICES else f"The shop does not sell {product}."


SHOP = agent_framework.Agent(CLIENT, "You know the shop's prices by your tool.", name="shop", tools=[price])


async def run(step: StepRequest, ctx: Context) -> Reply:
    question = "\n\n".join(map(str, [step.input or step.task_description, *step.upstream.values()]))
    spent, answer, missing = list[Usage](), None, []

    @agent_framework.chat_middleware
    async def think(context: agent_framework.ChatContext, call_next: Any) -> None:
        with note("model", os.environ["MODEL_NAME"]) as cost:
            await call_next()
            told = context.result.usage_details or {}
            read, written = (told.get(f"{which}_token_count") or 0 for which in ("input", "output"))
            cost.usage = Usage(calls=1, input_tokens=read, output_tokens=written)
        spent.append(cost.usage)

    @agent_framework.function_middleware
    async def use_tool(context: agent_framework.FunctionInvocationContext, call_next: Any) -> None:
        await ctx.progress(f"calls {context.function.name}({context.arguments})")
        with note("tool", context.function.name):
            await call_next()

    try:
        async with asyncio.timeout(ctx.seconds_left() - 1):  # a second before the step's end
            answer = (await SHOP.run(question, middleware=[think, use_tool])).text
    except TimeoutError:
        missing.append(Missing(what="the answer", why="The model took too long."))
    return Reply({"answer": answer}, sum(spent, Usage()), missing)


def agent(state_dir: Path) -> Agent:
    return Agent(name="shop", description="Knows prices.", capabilities=("shop",), run=run, idempotent=True)


if __name__ == "__main__":
    serve_worker(agent)
