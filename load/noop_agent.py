"""One process that serves agents which do nothing: POST …/execute answers at once, after a pause, or never."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

ROLES = {"researcher": "research", "analyzer": "analyze", "reporter": "report"}
REGISTER_SECONDS = 30.0
_JSON = [(b"content-type", b"application/json")]


class Noop:
    """A plain ASGI app. `delay_seconds` is how long each step takes; None: until the caller is gone.

    The output of a step says how many seconds it took here, from its arrival to just before the answer.
    `PUT /delay` with a number of milliseconds changes the delay.
    """

    def __init__(self, delay_seconds: float | None) -> None:
        self._delay_seconds = delay_seconds

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] == "POST":
            await self._execute(receive, send)
        elif scope["method"] == "PUT":
            self._delay_seconds = float(await _body(receive)) / 1000
            await _answer(send, b"{}")
        else:
            await _answer(send, b'{"status":"healthy"}')

    async def _execute(self, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        step = json.loads(await _body(receive))
        if self._delay_seconds is None:
            await receive()  # http.disconnect
            return
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)
        result = {
            "contract": 1,
            "task_id": step.get("task_id"),
            "step_id": step["step_id"],
            "attempt": step.get("attempt", 1),
            "status": "completed",
            "output": {"report": "Nothing was done.", "seconds": time.perf_counter() - began},
        }
        await _answer(send, json.dumps(result).encode())


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def _answer(send: Send, body: bytes) -> None:
    headers = [*_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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


async def serve(app: Noop, port: int, coordinators: list[str]) -> None:
    """Serves until SIGTERM; registers once the port answers."""
    config = uvicorn.Config(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(), name="serve")
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110  uvicorn tells it no other way
            await asyncio.sleep(0.01)
        for coordinator in coordinators:
            await asyncio.to_thread(register, coordinator, f"http://127.0.0.1:{port}")
    finally:
        await serving


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load.noop_agent", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument(
        "--register", action="append", default=[], metavar="URL", help="a coordinator to register with; may be repeated"
    )
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long a step takes (default: %(default)s)")
    parser.add_argument("--hang", action="store_true", help="never answer a step")
    given = parser.parse_args()
    import uvloop

    uvloop.run(serve(Noop(None if given.hang else given.delay_ms / 1000), given.port, given.register))


if __name__ == "__main__":
    main()
