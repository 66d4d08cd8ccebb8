"""Limits on what arrives: nobody has shown a key yet, so nobody may hold memory or connections for long."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from shared.server.intake import MAX_HEAD, REFUSED, Intake
from tests.support.fakes import eventually

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Quick(Intake):
    seconds = body_seconds = 0.3


async def _slow(scope: Any, receive: Any, send: Any) -> None:
    """Answers `GET /` after twice as long as a head may take, `/read` with what it read, all else without reading."""
    said, status = b"ok", scope[REFUSED].status if REFUSED in scope else 200
    if scope["path"] == "/":
        await asyncio.sleep(2 * _Quick.seconds)
    if scope["path"] == "/read":
        said, message = b"", {"more_body": True}
        while message.get("more_body", False):
            message = await receive()
            said += message.get("body", b"")
            if message["type"] == "http.disconnect":
                return
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(said))]})
    await send({"type": "http.response.body", "body": said})


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


@pytest.mark.parametrize("framing", [b"content-length: 1000", b"transfer-encoding: chunked"])
@pytest.mark.parametrize("drips", [True, False])
async def test_a_body_that_does_not_come_is_408(server: uvicorn.Server, framing: bytes, drips: bool) -> None:
    """A body that stops, or comes a byte at a time, is given up."""
    reader, writer = await connected(server)
    writer.write(b"POST /read HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n" % framing)

    async def drip() -> None:
        while drips:
            writer.write(b"a" if b"length" in framing else b"1\r\na\r\n")
            await asyncio.sleep(0.01)

    dripping, said = asyncio.create_task(drip()), b""
    try:
        said = await rest((reader, writer))
    except ConnectionError:
        assert drips  # what is still being written may be answered with a reset
    finally:
        dripping.cancel()

    assert drips or json.loads(said.partition(b"\r\n\r\n")[2])["type"] == "urn:muster:problem:request_timeout"
    assert said == b"" or said.startswith(b"HTTP/1.1 408 ")


async def test_unread_dripping_body_closes_the_connection(server: uvicorn.Server) -> None:
    """Nor may a body come for ever that was answered without being read."""
    reader, writer = await connected(server)
    writer.write(b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
    await reader.readuntil(b"ok")

    async def closed() -> bool:
        if not writer.is_closing():
            writer.write(b"a")
        return reader.at_eof() or reader.exception() is not None

    await eventually(closed)
    writer.close()


async def test_a_body_earns_time_with_what_comes(server: uvicorn.Server) -> None:
    """A body takes as long as it needs at 100 KB a second, and more than its first time."""
    reader, writer = await connected(server)
    writer.write(b"POST /read HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 300000\r\n\r\n")
    for _ in range(3):
        writer.write(b"a" * 100_000)
        await asyncio.sleep(0.2)

    assert (await rest((reader, writer))).endswith(b"a" * 300_000)


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"TLS/1.0, h2c"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_wish_to_upgrade_is_ignored(server: uvicorn.Server, upgrade: bytes, at_once: bool) -> None:
    """The body behind it is read, and the connection goes on, as if there were no such wish."""
    reader, writer = await connected(server)
    names = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: %b\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n" % upgrade
    one = b"POST /read HTTP/1.1\r\nhost: x\r\n" + names + b"content-length: 5\r\n\r\n"
    for _ in range(2):
        if at_once:
            writer.write(one + b"hello")
        else:
            writer.write(one)
            await asyncio.sleep(0.02)
            writer.write(b"hello")
        await reader.readuntil(b"hello")
    writer.write((one + b"hello") * 1_000 + b"POST /read HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")

    assert (await rest((reader, writer))).count(b"hello") == 1_000


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /x HTTP/1.1\r\nhost: a\r\nhost: b\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: a\r\nHOST: a\r\n", 400),
        (b"GET /x HTTP/1.0\r\nhost: a\r\nhost: b\r\n", 400),
        (b"GET /x HTTP/1.1\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: a b\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: me@a\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: a/b\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost:\r\n", 200),
        (b"GET /x HTTP/1.1\r\nhost: [::1]:8000\r\n", 200),
        (b"GET /x HTTP/1.0\r\n", 200),
        (b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n", 400),
    ],
)
async def test_a_request_has_one_valid_host(server: uvicorn.Server, head: bytes, status: int) -> None:
    """RFC 9112, section 3.2: two Host headers, none, or one that is no host, are 400."""
    ends = await connected(server)
    ends[1].write(head + b"connection: close\r\n\r\n")

    assert (await rest(ends)).startswith(b"HTTP/1.1 %d " % status)
