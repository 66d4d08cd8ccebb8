"""An agent of OpenAI's Agents SDK as a worker; hooks tell the task's watchers what it does."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import agents
from openai import AsyncOpenAI

from shared.worker import Agent, Context, Missing, Reply, StepRequest, Usage, serve_worker

PRICES = {"lamp": 12, "chair": 49}
CLIENT = AsyncOpenAI(base_url=os.environ["MODEL_API_URL"], api_key=os.environ.get("MODEL_API_KEY", "none"))
agents.set_tracing_disabled(True)  # its traces would be sent to OpenAI


@agents.function_tool
def price(product: str) -> str:
    """The price of a product in euros."""
    return f"{PRICES[product]} euros" if product in PRICES else f"The shop does not sell {product}."


MODEL = agents.OpenAIChatCompletionsModel(os.environ["MODEL_NAME"], CLIENT)
SHOP = agents.Agent("shop", instructions="You know the shop's prices by your tool.", model=MODEL, tools=[price])


class Watch(agents.RunHooks):
    """What the run has spent and called so far, also when it is cut off."""

    def __init__(self, ctx: Context) -> None:
        self.ctx, self.usage, self.tools = ctx, Usage(), list[str]()

    async def on_llm_end(self, context: Any, agent: Any, response: agents.ModelResponse) -> None:
        self.usage += Usage.model_validate(response.usage, from_attributes=True) + Usage(calls=1)

    async def on_tool_start(self, context: Any, agent: Any, tool: agents.Tool) -> None:
        self.tools.append(tool.name)
        await self.ctx.progress(f"calls {tool.name}({context.tool_arguments})")


async def run(step: StepRequest, ctx: Context) -> Reply:
    question = "\n\n".join(map(str, [step.input or step.task_description, *step.upstream.values()]))
    watch, answer, missing = Watch(ctx), None, []
    try:
        async with asyncio.timeout(ctx.seconds_left() - 1):  # a second before the step's end
            answer = (await agents.Runner.run(SHOP, question, hooks=watch)).final_output
    except TimeoutError:
        missing.append(Missing(what="the answer", why="The model took too long."))
    return Reply({"answer": answer, "tools": watch.tools}, watch.usage, missing)


def agent(state_dir: Path) -> Agent:
    return Agent(name="shop", description="Knows prices.", capabilities=("shop",), run=run, idempotent=True)


if __name__ == "__main__":
    serve_worker(agent)
