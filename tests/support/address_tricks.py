"""Ways to write an address so that a careless program calls this machine, and a DNS that the test answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohappyeyeballs
import pytest

PUBLIC = "93.184.216.34"
NAMES: dict[str, list[list[str]]] = {  # what each look-up of a name answers; the last answer repeats
    "home.example": [["127.0.0.1"]],
    "home6.example": [["::1"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "nat64.example": [["64:ff9b::7f00:1"]],
    "sixtofour.example": [["2002:7f00:1::"]],
    "nowhere.example": [["0.0.0.0"]],
    "nowhere6.example": [["::"]],
    "private.example": [["10.0.0.7"]],
    "metadata.example": [["169.254.169.254"]],
    "many.example": [["127.0.0.1", "::1", "127.0.0.2"]],
    "mixed.example": [[PUBLIC, "127.0.0.1"]],
    "rebound.example": [[PUBLIC], ["127.0.0.1"]],
}


def write_hosts() -> Iterator[str]:
    """This machine in a URL's place of the host, in every spelling."""
    dotted, number = "127.0.0.1", 0x7F000001
    yield from (dotted, f"{dotted}.", "127.1", "127.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0", "0")
    yield from (str(number), hex(number), hex(number).upper(), f"0{number:o}", f"{number + 2**32}")
    yield from ("0x7f.0.0.1", "0x7f.1", "0x7f.0x0.0x0.0x1", "0177.0.0.1", "0177.1", "127.0.0.01", "127.000.000.001")
    yield from ("[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::]", "[::1%25lo]", "[::1%lo]", f"[::{dotted}]")
    yield from (f"[::ffff:{dotted}]", "[::ffff:7f00:1]", f"[::ffff:0:{dotted}]", "[0:0:0:0:0:ffff:7f00:1]")
    yield from (f"[64:ff9b::{dotted}]", "[64:ff9b:1:7f00:0:100::]", "[2002:7f00:1::]", "[fe80::1%25lo]")
    yield from ("localhost", "LOCALHOST", "localhost.", "LocalHost.", "a.localhost", "localhost.localdomain")
    wide = str.maketrans({str(n): chr(0xFF10 + n) for n in range(10)})
    circled = str.maketrans({"0": "⓪", "1": "①", "2": "②", "7": "⑦"})
    yield from (dotted.translate(wide), dotted.translate(circled), dotted.replace(".", "。"), "ｌocalhost", "ⓛocalhost")
    yield from (
        quote("127", safe="").replace("1", "%31"),
        "%6c%6f%63alhost",
        f"{dotted}%00",
        f"{dotted}%2f",
        "127%2e0%2e0%2e1",
    )
    yield from (f"www.example.com@{dotted}", f"www.example.com:80@{dotted}", f"www.example.com%40@{dotted}")
    yield from (
        f"{dotted}\\@www.example.com",
        f"www.example.com\\@{dotted}",
        f"{dotted} ",
        "127.0.\t0.1",
        f"{dotted}\r\nX: y",
    )


def write_urls(port: int) -> list[str]:
    """All tricks, with `port` as the port that somebody listens at."""
    urls = [f"http://{host}:{port}/" for host in (*write_hosts(), *NAMES)]
    urls += [f"http:/\\127.0.0.1:{port}/", f"http:127.0.0.1:{port}", f"//127.0.0.1:{port}/", f"HTTP://127.0.0.1:{port}"]
    urls += [f"{scheme}://127.0.0.1:{port}/" for scheme in ("gopher", "dict", "ftp", "file", "ws", "unix", "jar:http")]
    return urls


@dataclass
class Door:
    """A socket that listens on this machine, and how often somebody came."""

    port: int = 0
    came: int = 0
    says: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    asked: list[bytes] = field(default_factory=list)


@contextlib.asynccontextmanager
async def listening(**said: Any) -> AsyncIterator[Door]:
    """Somebody who listens on every address of this machine, and answers all alike."""
    door = Door(**said)

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door.came += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            door.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(door.says)
            await writer.drain()
        writer.close()

    hosts = ["127.0.0.1", "::1"] if socket.has_ipv6 else ["127.0.0.1"]
    server = await asyncio.start_server(served, "0.0.0.0", 0)
    door.port = server.sockets[0].getsockname()[1]
    also = []
    with contextlib.suppress(OSError):
        also.append(await asyncio.start_server(served, hosts[-1], door.port))
    try:
        yield door
    finally:
        for one in (server, *also):
            one.close()


def answer_names(monkeypatch: pytest.MonkeyPatch, *, public: Door) -> None:
    """`NAMES` are what the DNS says, and who connects to `PUBLIC` is at that door."""
    look_up, connect = asyncio.BaseEventLoop.getaddrinfo, aiohappyeyeballs.start_connection
    asked: Counter[str] = Counter()

    async def looked_up(loop: Any, host: str, port: int, **more: Any) -> Any:
        if host not in NAMES:
            return await look_up(loop, host, port, **more)
        answers = NAMES[host]
        found = answers[min(asked[host], len(answers) - 1)]
        asked[host] += 1
        return [_info(address, port) for address in found]

    async def connected(addresses: Any, **more: Any) -> Any:
        there = [_info("127.0.0.1", public.port) if info[4][0] == PUBLIC else info for info in addresses]
        return await connect(there, **more)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", looked_up)
    monkeypatch.setattr(aiohappyeyeballs, "start_connection", connected)


def _info(address: str, port: int) -> Any:
    six = ":" in address
    where = (address, port, 0, 0) if six else (address, port)
    return socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where
