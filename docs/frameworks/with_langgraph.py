"""A graph of LangGraph as a worker: a model that calls a tool until it has the answer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from shared.worker import Agent, Context, Missing, Reply, StepRequest, Usage, note, serve_worker

NAME, KEY = os.environ["MODEL_NAME"], os.environ.get("MODEL_API_KEY", "none")
PRICES = {"lamp": 12, "chair": 49}


def price(product: str) -> str:
    """The price of a product in euros."""
    with note("tool", "price"):
        return f"{PRICES[product]} euros" if product in PRICES else f"The shop does not sell {product}."


MODEL = ChatOpenAI(model=NAME, base_url=os.environ["MODEL_API_URL"], api_key=KEY).bind_tools([price])


async def think(state: MessagesState) -> MessagesState:
    with note("model", NAME) as cost:
        message = await MODEL.ainvoke([("system", "You know the shop's prices by your tool."), *state["messages"]])
        cost.usage = Usage(calls=1, **(message.usage_metadata or {}))
        return {"messages": [message]}


GRAPH = StateGraph(MessagesState).add_node("think", think).add_node("tools", ToolNode([price])).add_edge(START, "think")
SHOP = GRAPH.add_edge("tools", "think").add_conditional_edges("think", tools_condition).compile()


async def run(step: StepRequest, ctx: Context) -> Reply:
    question = "\n\n".join(map(str, [step.input or step.task_description, *step.upstream.values()]))
    usage, answer, missing = Usage(), None, []
    try:
        async with asyncio.timeout(ctx.seconds_left() - 1):  # a second before the step's end
            async for update in SHOP.astream({"messages": [("user", question)]}, stream_mode="updates"):
                for message in update.get("think", {}).get("messages", ()):
                    usage += Usage(calls=1, **(message.usage_metadata or {}))
                    answer = message.text or None
                    for call in message.tool_calls:
                        await ctx.progress(f"calls {call['name']}({call['args']})")
    except TimeoutError:
        missing.append(Missing(what="the answer", why="The model took too long."))
    return Reply({"answer": answer}, usage, missing)


def agent(state_dir: Path) -> Agent:
    return Agent(name="shop", description="Knows prices.", capabilities=("shop",), run=run, idempotent=True)


if __name__ == "__main__":
    serve_worker(agent)
