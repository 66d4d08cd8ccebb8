"""A worker with a model and a tool in plain Python: the loop is the part between `while` and `return`."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from shared.worker import Agent, Context, Missing, Reply, StepRequest, Usage, note, serve_worker

MODEL = AsyncOpenAI(base_url=os.environ["MODEL_API_URL"], api_key=os.environ.get("MODEL_API_KEY", "none"))
NAME = os.environ["MODEL_NAME"]
PRICES = {"lamp": 12, "chair": 49}
PRODUCT = {"type": "object", "properties": {"product": {"type": "string"}}, "required": ["product"]}
PRICE = {"name": "price", "description": "The price of a product in euros.", "parameters": PRODUCT}
TOOLS: list[Any] = [{"type": "function", "function": PRICE}]


def price(product: str) -> str:
    return f"{PRICES[product]} euros" if product in PRICES else f"The shop does not sell {product}."


async def run(step: StepRequest, ctx: Context) -> Reply:
    question = "\n\n".join(map(str, [step.input or step.task_description, *step.upstream.values()]))
    system = {"role": "system", "content": "You know the shop's prices by your tool."}
    messages: list[Any] = [system, {"role": "user", "content": question}]
    usage = Usage()
    try:
        async with asyncio.timeout(ctx.seconds_left() - 1):  # a second before the step's end
            while True:
                with note("model", NAME) as cost:
                    said = await MODEL.chat.completions.create(model=NAME, messages=messages, tools=TOOLS)
                    spent, message = said.usage, said.choices[0].message
                    read, written = (spent.prompt_tokens, spent.completion_tokens) if spent else (0, 0)
                    cost.usage = Usage(calls=1, input_tokens=read, output_tokens=written)
                usage += cost.usage
                if not message.tool_calls:
                    return Reply({"answer": message.content}, usage)
                messages.append(message)
                for call in message.tool_calls:
                    await ctx.progress(f"calls {call.function.name}({call.function.arguments})")
                    with note("tool", call.function.name):
                        result = price(**json.loads(call.function.arguments))
                    messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    except TimeoutError:
        return Reply({"answer": None}, usage, [Missing(what="the answer", why="The model took too long.")])


def agent(state_dir: Path) -> Agent:
    return Agent(name="shop", description="Knows prices.", capabilities=("shop",), run=run, idempotent=True)


if __name__ == "__main__":
    serve_worker(agent)
