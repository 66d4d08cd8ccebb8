"""An agent that takes its time: a small server that joins a coordinator and leaves it again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from load.driving.calls import build_headers

NAME = "load-slow"
JOIN_SECONDS = 10.0
CALL_SECONDS = 5.0


class NotJoined(Exception):
    """The coordinator did not take the agent, or does not reach it; the message says what to do."""


@dataclass
class SlowAgent:
    """Takes its time for each step and counts the steps."""

    seconds: float
    steps: int = 0

    async def execute(self, request: web.Request) -> web.Response:
        self.steps += 1
        step = await request.json()
        await asyncio.sleep(self.seconds)
        result = {key: step.get(key) for key in ("contract", "task_id", "step_id", "attempt")}
        return web.json_response(result | {"status": "completed", "output": {"report": "Nothing was done."}})


@contextlib.asynccontextmanager
async def serve(seconds: float, host: str) -> AsyncIterator[tuple[SlowAgent, str]]:
    """Serves the agent while the block runs; yields it and the address that it listens at."""
    agent = SlowAgent(seconds)
    app = web.Application()
    app.router.add_post("/execute", agent.execute)
    app.router.add_route("GET", "/{anything:.*}", _answer_healthy)
    app.router.add_route("DELETE", "/{anything:.*}", _answer_healthy)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, 0).start()
        except OSError as exc:
            raise NotJoined(f"The slow agent cannot listen at --slow-host {host}: {exc.strerror}") from exc
        port = runner.addresses[0][1]
        yield agent, f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def join(
    session: aiohttp.ClientSession, url: str, api_key: str | None, *, endpoint: str, capability: str
) -> AsyncIterator[None]:
    """Registers the agent for the block and waits until it is healthy there; raises `NotJoined`."""
    headers = build_headers(api_key)
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    body = {"name": NAME, "endpoint": endpoint, "capabilities": [capability], "description": "Slow on purpose."}
    try:
        async with session.post(f"{url}/register_agent", json=body, headers=headers, timeout=timeout) as answer:
            said = await answer.json()
            if answer.status not in (200, 201):
                raise NotJoined(f"The coordinator refused the slow agent: {said.get('detail', answer.status)}")
        try:
            await _wait_until_healthy(session, url, headers)
            yield
        finally:
            async with session.delete(f"{url}/agents/{said['agent_id']}", headers=headers, timeout=timeout):
                pass
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        raise NotJoined(f"The slow agent could not join or leave: {type(exc).__name__} {exc}") from exc


async def _wait_until_healthy(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> None:
    until, status = time.monotonic() + JOIN_SECONDS, "unknown"
    while time.monotonic() < until:
        async with session.get(f"{url}/agents/{NAME}", headers=headers) as answer:
            instances = (await answer.json()).get("instances") or [{}]
        status = instances[0].get("status", "unknown")
        if status == "healthy":
            return
        await asyncio.sleep(0.1)
    raise NotJoined(
        f"The slow agent is {status} for the coordinator after {JOIN_SECONDS:g} s; name with --slow-host an address of "
        "this machine that the coordinator reaches."
    )


async def _answer_healthy(_: web.Request) -> web.Response:
    return web.json_response({"status": "healthy"})
