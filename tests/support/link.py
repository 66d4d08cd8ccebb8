"""A line between a coordinator and its database that can be cut, silenced, healed and led elsewhere."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


class Link:
    """Passes TCP on from a port of its own to `to`, a port on this machine."""

    def __init__(self, to: int) -> None:
        self.to = to
        self._open = asyncio.Event()
        self._open.set()
        self._refuses = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._left: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Link:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._open.set()
        self._server.close()
        await asyncio.sleep(0.1)  # those who waited to be served are refused
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._left:
            with suppress(OSError):
                await writer.wait_closed()

    def lead(self, url: str) -> str:
        """The address of a database, as it is reached over this line."""
        port = url.rpartition(":")[2].partition("/")[0]
        return url.replace(f":{port}/", f":{self.port}/")

    def silence(self) -> None:
        """Nothing passes any more, and nothing is closed: packets are lost."""
        self._open.clear()

    def cut(self) -> None:
        """Every connection is reset, and so is every new one."""
        self._refuses = True
        self._reset()

    def switch(self, to: int) -> None:
        """Leads to another port from now on; the connections that are there are reset."""
        self.to = to
        self._reset()

    def heal(self) -> None:
        """What was kept back passes, and all that comes."""
        self._refuses = False
        self._open.set()

    def _reset(self) -> None:
        for writer in self._writers:
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        self._left += self._writers
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        await self._open.wait()
        if self._refuses:
            self._reset()
            return
        try:
            upper, lower = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            self._reset()
            return
        self._writers.add(lower)
        for pair in ((reader, lower), (upper, writer)):
            task = asyncio.create_task(self._pass(*pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
