"""The limit: the same exchanges by asyncio's sockets and nothing else, no framework, no journal."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import uvloop

from load.bare.client import Client
from load.bare.server import HEALTHY, listen
from load.peers.limits.exchange import answer_task


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Client(os.environ["AGENTS"].removeprefix("http://")) as agents:

        async def answer(body: bytes) -> bytes:
            return json.dumps(await answer_task(agents, json.loads(body))).encode()

        server = await listen(
            lambda method, target, body: answer(body) if method == b"POST" else HEALTHY, int(os.environ["PORT"])
        )
        await stop.wait()
        server.close()


if __name__ == "__main__":
    uvloop.run(main())
