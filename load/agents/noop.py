"""Agents that do nothing, served together: POST …/execute answers at once, after a pause, or never."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import urllib.request
from collections.abc import Coroutine
from typing import Any

from load.bare.server import HEALTHY, listen

ROLES = {"researcher": "research", "analyzer": "analyze", "reporter": "report"}
REGISTER_SECONDS = 30.0


class Noop:
    """Answers requests. Each step takes `delay_seconds`; with None it lasts until its caller is gone.

    The output of a step says how many seconds it took here, from its arrival to just before the answer.
    `PUT /delay` with a number of milliseconds changes the delay; steps that never end restart with it.
    """

    def __init__(self, delay_seconds: float | None) -> None:
        self._delay_seconds = delay_seconds
        self._changed = asyncio.Event()

    def handle(self, method: bytes, target: bytes, body: bytes) -> bytes | Coroutine[None, None, bytes]:
        if method == b"POST":
            step = json.loads(body)
            return build_result(step, 0.0) if self._delay_seconds == 0 else self._answer_later(step)
        if method == b"PUT":
            self._delay_seconds = float(body) / 1000
            self._changed.set()
            return b"{}"
        return HEALTHY

    async def _answer_later(self, step: dict[str, Any]) -> bytes:
        began = time.perf_counter()
        while self._delay_seconds is None:
            await self._changed.wait()
        await asyncio.sleep(self._delay_seconds)
        return build_result(step, time.perf_counter() - began)


def build_result(step: dict[str, Any], seconds: float) -> bytes:
    """Returns the answer to a step, as JSON."""
    result = {
        "contract": 1,
        "task_id": step.get("task_id"),
        "step_id": step["step_id"],
        "attempt": step.get("attempt", 1),
        "status": "completed",
        "output": {"report": "Nothing was done.", "seconds": seconds},
    }
    return json.dumps(result).encode()


def register(coordinator: str, endpoint: str) -> None:
    """Registers every role for good (without `instance`: no lease, no heartbeat); OSError after 30 s."""
    for name, capability in ROLES.items():
        body = json.dumps({"name": name, "endpoint": endpoint, "capabilities": [capability]}).encode()
        request = urllib.request.Request(
            f"{coordinator}/register_agent", body, {"Content-Type": "application/json"}, method="POST"
        )
        until = time.monotonic() + REGISTER_SECONDS
        while True:
            try:
                urllib.request.urlopen(request, timeout=5).close()
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


async def serve(noop: Noop, port: int, coordinators: list[str]) -> None:
    """Serves until SIGTERM; registers once the port answers."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await listen(noop.handle, port)
    for coordinator in coordinators:
        await asyncio.to_thread(register, coordinator, f"http://127.0.0.1:{port}")
    await stop.wait()
    server.close()
