"""Restate: a durable handler of three steps, two of them at once; callers reach it through Restate's server."""

from __future__ import annotations

from typing import Any

import aiohttp
import restate
from job import EXECUTE, response, step

sessions: list[aiohttp.ClientSession] = []
job = restate.Service("job")


async def call(body: dict[str, Any]) -> dict[str, Any]:
    if not sessions:
        sessions.append(aiohttp.ClientSession())
    async with sessions[0].post(EXECUTE, json=body, raise_for_status=True) as answer:
        return dict(await answer.json())


@job.handler()
async def execute_task(ctx: restate.Context, task: dict[str, Any]) -> dict[str, Any]:
    task_id, description = str(ctx.uuid()), task["task_description"]
    bodies = [step(task_id, name, description, []) for name in ("research", "analyze")]
    both = [ctx.run_typed(body["step_id"], call, restate.RunOptions(), body) for body in bodies]
    await restate.gather(*both)
    before = [await each for each in both]
    last = step(task_id, "report", description, before)
    report = await ctx.run_typed("report", call, restate.RunOptions(), last)
    return response(task_id, [*before, report]).model_dump()


app = restate.app([job])
