"""A task that is taken up twice at once: from the queue, and by the call that accepted it."""

from __future__ import annotations

import asyncio
from typing import Any

from shared.agent import Agent, Context, Reply
from shared.contracts import StepRequest
from tests.support.fakes import Suite
from tests.support.history import History
from tests.support.postgres import Server


async def test_task_that_ends_while_taken_up_runs_once(postgres: Server):
    """The queue reads a task that is not begun, the task is begun and ends, and only then the queue goes on."""

    async def run(step: StepRequest, ctx: Context) -> Reply:
        return Reply(output="done")

    agent = Agent("echo", "Answers.", ("echo",), run)
    database = postgres.make_database()
    async with Suite(None, agent, database_url=database) as suite:
        dispatcher: Any = suite.services.dispatcher
        begin, move_past, ended = dispatcher._begin, dispatcher._store.move_past, asyncio.Event()
        taking: list[asyncio.Task[bool]] = []

        async def move_late(last: int) -> None:
            await ended.wait()
            await move_past(last)

        def begin_late(*args: Any, **given: Any) -> None:
            taking.append(asyncio.create_task(dispatcher.carry_job(args[0].id)))
            asyncio.get_running_loop().call_later(0.05, lambda: begin(*args, **given))

        dispatcher._store.move_past, dispatcher._begin = move_late, begin_late
        plan = [{"id": "a", "capability": "echo"}]
        answer = await suite.client.post("/execute_task", json={"task_description": "Once", "plan": plan})
        ended.set()
        has_ended = await asyncio.wait_for(taking[0], 20)

    assert answer.json()["status"] == "completed"
    assert has_ended
    history = await asyncio.to_thread(History, database)
    assert [event.type for event in history.events_of[answer.json()["task_id"]]][-1] == "task.finished"
