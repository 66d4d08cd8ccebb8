"""An agent that answers oddly, alone in a container: it needs nothing but Python, and registers itself.

`COORDINATOR`, `NAME`, `ENDPOINT` and `API_KEY` come from the environment, and in `REGISTRATION` more fields as JSON.
`PUT /mode` with {"mode": …, "seconds": …} changes how steps are answered that have no mode in their input; `GET /seen`
tells what came.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import time
import urllib.request
from collections import Counter
from typing import Any

CANARY = "muster.canary"
HUGE_BYTES = 2_000_000_000
BLOCK = b"x" * 65_536
JSON = "application/json"
MODE: dict[str, Any] = {"mode": "answer", "seconds": 0.0}
SEEN: Counter[str] = Counter()
BAD_STATUSES = {"500": 500, "404": 404, "503": 503, "redirect": 302}
BAD_BODIES = {
    "html": ("text/html", b"<h1>It works!</h1>"),
    "empty": (JSON, b""),
    "schema": (JSON, b'{"status": "completed"}'),
    "nan": (JSON, b'{"contract": 1, "step_id": "odd", "attempt": 1, "status": "completed", "output": NaN}'),
    "deep": (JSON, b"[" * 100_000 + b"]" * 100_000),
    "utf8": (JSON, b'{"contract": 1, "step_id": "odd", "attempt": 1, "status": "completed", "output": "\xff\xfe"}'),
}


async def serve() -> None:
    server = await asyncio.start_server(_converse, "0.0.0.0", 8000, backlog=1_024)
    for name in os.environ["NAME"].split(","):
        await asyncio.to_thread(_register, name)
    await server.serve_forever()


def _register(name: str) -> None:
    """Registers until the coordinator takes it."""
    body = {"name": name, "endpoint": os.environ["ENDPOINT"], "capabilities": [f"{name}-work"]}
    raw = json.dumps(body | json.loads(os.environ.get("REGISTRATION", "{}"))).encode()
    headers = {"Content-Type": JSON}
    if os.environ.get("API_KEY"):
        headers["Authorization"] = f"Bearer {os.environ['API_KEY']}"
    while True:
        try:
            request = urllib.request.Request(f"{os.environ['COORDINATOR']}/register_agent", raw, headers)
            urllib.request.urlopen(request, timeout=5).close()
            return
        except OSError as exc:
            print("not registered:", exc, flush=True)
            time.sleep(0.5)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    SEEN["connections"] += 1
    SEEN["open"] += 1
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            method, path, *_ = head.split(b"\r\n")[0].decode().split()
            lines = [line.partition(b":") for line in head.lower().split(b"\r\n")[1:]]
            size = next((int(value) for name, _, value in lines if name == b"content-length"), 0)
            await _answer(method, path, await reader.readexactly(size), reader, writer)
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        SEEN["open"] -= 1
        writer.close()


async def _answer(
    method: str, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if path == "/seen":
        await _send(writer, dict(SEEN))
    elif method == "PUT":
        MODE.update(json.loads(body))
        await _send(writer, MODE)
    elif method == "DELETE":
        SEEN["cancelled"] += 1
        await _send(writer, {})
    elif method == "POST" and path == "/execute":
        await _execute(json.loads(body), reader, writer)
    elif path == "/elsewhere":
        SEEN["followed"] += 1
        await _send(writer, {})
    elif method == "POST":
        SEEN["posted"] += 1
        await _send(writer, {})
    else:
        await _send(writer, {"status": "healthy"})


async def _execute(step: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    given = step.get("input")
    mode = str((given if isinstance(given, dict) else MODE).get("mode"))
    if step.get("capability") == CANARY:
        SEEN["canaries"] += 1
        if mode != "deaf":
            await _send(writer, _complete(step))
            return
    else:
        SEEN["steps"] += 1
    if mode in ("hang", "deaf"):
        await _wait_until_closed(reader)
    elif mode == "answer":
        await _answer_slowly(step, reader, writer)
    elif mode in BAD_STATUSES:
        await _send(
            writer, {}, status=BAD_STATUSES[mode], more="Location: /elsewhere\r\n" if mode == "redirect" else ""
        )
    elif mode in BAD_BODIES:
        await _send_raw(writer, 200, *BAD_BODIES[mode])
    elif mode == "other_task":
        await _send(writer, _complete(step) | {"task_id": "0" * 32})
    elif mode == "other_step":
        await _send(writer, _complete(step) | {"step_id": "another"})
    elif mode == "die":
        os._exit(137)
    elif mode == "huge":
        await _send_huge(writer)
    else:
        await _break_off(mode, json.dumps(_complete(step)).encode(), writer)


async def _answer_slowly(step: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers after so many seconds, unless the caller closes the connection before."""
    SEEN["working"] += 1
    try:
        if MODE["seconds"]:
            async with asyncio.timeout(float(MODE["seconds"])):
                await _wait_until_closed(reader)
            return
    except TimeoutError:
        pass
    finally:
        SEEN["working"] -= 1
    await _send(writer, _complete(step))


async def _wait_until_closed(reader: asyncio.StreamReader) -> None:
    await reader.read(1)
    SEEN["closed"] += 1
    raise ConnectionResetError


async def _break_off(mode: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    if mode == "drip":
        for byte in body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1.0)
    writer.write(body[: len(body) // 2])
    await writer.drain()
    if mode == "reset":
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    raise ConnectionResetError


async def _send_huge(writer: asyncio.StreamWriter) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: {HUGE_BYTES}\r\n\r\n".encode())
    for _ in range(HUGE_BYTES // len(BLOCK)):
        writer.write(BLOCK)
        await writer.drain()
        SEEN["huge_bytes"] += len(BLOCK)


def _complete(step: dict[str, Any]) -> dict[str, Any]:
    known = {name: step.get(name) for name in ("task_id", "step_id", "attempt")}
    return {"contract": 1, **known, "status": "completed", "output": {"report": MODE.get("output", "It is done.")}}


async def _send(writer: asyncio.StreamWriter, body: dict[str, Any], *, status: int = 200, more: str = "") -> None:
    await _send_raw(writer, status, JSON, json.dumps(body).encode(), more=more)


async def _send_raw(writer: asyncio.StreamWriter, status: int, kind: str, body: bytes, *, more: str = "") -> None:
    head = f"HTTP/1.1 {status} Odd\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


if __name__ == "__main__":
    asyncio.run(serve())
