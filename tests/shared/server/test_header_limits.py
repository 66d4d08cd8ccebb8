"""Limits on a request's head: nobody has shown a key yet, so nobody may hold memory or connections for long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from shared.server.header_limits import MAX_HEAD, Heads
from tests.support.fakes import eventually

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Quick(Heads):
    seconds = 0.3


async def _slow(scope: Any, receive: Any, send: Any) -> None:
    """Answers `GET /` after twice as long as a head may take, all else at once and without reading it."""
    if scope["path"] == "/":
        await asyncio.sleep(2 * _Quick.seconds)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def server() -> AsyncIterator[uvicorn.Server]:
    server = uvicorn.Server(
        uvicorn.Config(_slow, http=_Quick, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    yield server
    server.should_exit = True
    await task


async def connected(server: uvicorn.Server) -> Ends:
    return await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])


async def rest(ends: Ends) -> bytes:
    """Everything until the other side closes, which it must."""
    async with asyncio.timeout(5):
        said = await ends[0].read()
    ends[1].close()
    return said


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nhost: x\r\nx-a: "])
async def test_a_head_that_does_not_come_closes_the_connection(server: uvicorn.Server, begun: bytes) -> None:
    ends = await connected(server)
    ends[1].write(begun)

    assert await rest(ends) == b""


async def test_missing_second_head_closes_the_connection(server: uvicorn.Server) -> None:
    """A second head that does not come closes the connection too."""
    ends = await connected(server)
    ends[1].write(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n")
    await ends[0].readuntil(b"ok")
    ends[1].write(b"GET /x HTTP/1.1\r\nhost")

    assert await rest(ends) == b""


async def test_unread_body_does_not_keep_the_connection(server: uvicorn.Server) -> None:
    """A body that nobody reads does not keep the connection open."""
    ends = await connected(server)
    ends[1].write(b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
    await ends[0].readuntil(b"ok")
    ends[1].write(b"a")

    assert await rest(ends) == b""


async def test_an_answer_may_take_its_time(server: uvicorn.Server) -> None:
    ends = await connected(server)
    ends[1].write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")

    assert (await rest(ends)).endswith(b"ok")


@pytest.mark.parametrize("line", [b"x-a: ", b""])
async def test_a_head_that_grows_is_cut_off(server: uvicorn.Server, line: bytes) -> None:
    ends = await connected(server)
    ends[1].write(b"GET / HTTP/1.1\r\nhost: x\r\n" + line)
    for _ in range(MAX_HEAD // 5_000 + 2):
        await asyncio.sleep(0.01)
        ends[1].write(b"a" * 5_000 if line else b"a: b\r\n" * 1_000)

    said = b""
    with contextlib.suppress(ConnectionError):  # what is still being written may be answered with a reset
        said = await rest(ends)
    assert said == b"" or said.startswith(b"HTTP/1.1 431 ")


async def test_many_requests_in_one_piece_are_no_large_head(server: uvicorn.Server) -> None:
    one = b"GET /x HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 2_000 + b"\r\n\r\n"
    ends = await connected(server)
    ends[1].write(one * 30 + one[:100])
    await asyncio.sleep(0.05)
    ends[1].write(one[100:].replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))

    assert (await rest(ends)).count(b"HTTP/1.1 200") == 31
