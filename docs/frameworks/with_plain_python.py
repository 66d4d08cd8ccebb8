"""A worker with a model and a tool in plain Python: the loop is the part between `while` and `return`."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from shared.worker import Agent, Context, Missing, Reply, StepRequest, Usage, serve_worker

MODEL = AsyncOpenAI(base_url=os.environ["MODEL_API_URL"], api_key=os.environ.get("MODEL_API_KEY", "none"))
PRICES = {"lamp": 12, "chair": 49}
PRODUCT = {"type": "object", "properties": {"product": {"type": "string"}}, "required": ["product"]}
TOOL = {"name": "price", "description": "The price of a product in euros.", "parameters": PRODUCT}


def price(product: str) -> str:
    return f"{PRICES[product]} euros" if product in PRICES else f"The shop does not sell {product}."


async def run(step: StepRequest, ctx: Context) -> Reply:
    question = "\n\n".join(map(str, [step.input or step.task_description, *step.upstream.values()]))
    messages: list[Any] = [{"role": "system", "content": "You know the shop's prices by your tool."}]
    messages.append({"role": "user", "content": question})
    usage, tools = Usage(), []
    try:
        async with asyncio.timeout(ctx.seconds_left() - 1):  # a second before the step's end
            while True:
                said = await MODEL.chat.completions.create(
                    model=os.environ["MODEL_NAME"], messages=messages, tools=[{"type": "function", "function": TOOL}]
                )
                spent, message = said.usage, said.choices[0].message
                if spent:
                    usage += Usage(calls=1, input_tokens=spent.prompt_tokens, output_tokens=spent.completion_tokens)
                if not message.tool_calls:
                    return Reply({"answer": message.content, "tools": tools}, usage)
                messages.append(message)
                for call in message.tool_calls:
                    tools.append(f"{call.function.name}({call.function.arguments})")
                    await ctx.progress(f"calls {tools[-1]}")
                    result = price(**json.loads(call.function.arguments))
                    messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    except TimeoutError:
        late = Missing(what="the answer", why="The model took too long.")
        return Reply({"answer": None, "tools": tools}, usage, missing=[late])


def agent(state_dir: Path) -> Agent:
    return Agent(name="shop", description="Knows prices.", capabilities=("shop",), run=run, idempotent=True)


if __name__ == "__main__":
    serve_worker(agent)
