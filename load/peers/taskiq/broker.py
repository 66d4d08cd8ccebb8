"""Taskiq's broker and its one task: Redis streams, acknowledged when a task was executed, results in Redis."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import aiohttp
from job import EXECUTE
from taskiq import TaskiqDepends, TaskiqEvents, TaskiqState
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

REDIS_URL = os.environ["REDIS_URL"]
broker = RedisStreamBroker(REDIS_URL).with_result_backend(RedisAsyncResultBackend(REDIS_URL, result_ex_time=60))


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_session(state: TaskiqState) -> None:
    state.session = aiohttp.ClientSession()


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close_session(state: TaskiqState) -> None:
    await state.session.close()


@broker.task
async def call(body: dict[str, Any], state: Annotated[TaskiqState, TaskiqDepends()]) -> dict[str, Any]:
    async with state.session.post(EXECUTE, json=body, raise_for_status=True) as answer:
        return dict(await answer.json())


@asynccontextmanager
async def started() -> AsyncIterator[None]:
    """The broker open for sending."""
    await broker.startup()
    yield
    await broker.shutdown()
