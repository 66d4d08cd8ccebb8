"""The client's connections against peers that answer oddly, too much, too early, too late: what one call may trust."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.client import client as transport
from shared.client import pool
from shared.client.client import BadCoding, BodyTooLarge, DeadlineExceeded, Whole, may_have_arrived
from tests.shared.client.test_client import Reader, Serve, Writer, drips, never_ends, says, serving

OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with transport.make_client(seconds=5) as client:
        yield client


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def started(answer: object) -> str:
            return await stack.enter_async_context(serving(answer))  # type: ignore[arg-type]

        yield started


async def posted(http: httpx.AsyncClient, url: str, **more: object) -> Whole:
    """A POST past httpx's objects."""
    bounds: dict[str, object] = {"seconds": 5, "max_bytes": 1_000_000, **more}
    answer = await transport.fetch(http, "POST", url, {}, b"{}", **bounds)  # type: ignore[arg-type]
    assert isinstance(answer, Whole)
    return answer


def counts(*answers: bytes) -> tuple[list[int], object]:
    """A server that gives every connection these answers in turn, one a request, and keeps it open."""
    connections: list[int] = []

    async def answer(reader: Reader, writer: Writer) -> None:
        connections.append(0)
        for one in answers:
            await reader.readuntil(b"\r\n\r\n")
            connections[-1] += 1
            writer.write(one)
        await reader.read()

    return connections, answer


# --- what an answer is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        pytest.param(OK, 200, b"ok", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nok", 200, b"ok", id="until the end"),
        pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="no content"),
        pytest.param(b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK, 200, b"ok", id="after an early hint"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1;a=b\r\no\r\n1\r\nk\r\n0\r\nx: y\r\n\r\n",
            200,
            b"ok",
            id="chunks with extensions and trailers",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(b"ok"), 200, b"ok", id="gzip"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\n\r\n" + zlib.compress(b"ok"), 200, b"ok", id="deflate"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\n\r\n" + zlib.compress(b"ok")[2:-4],
            200,
            b"ok",
            id="deflate without its header",
        ),
    ],
)
async def test_an_answer_in_every_framing(
    http: httpx.AsyncClient, serve: Serve, answer: bytes, status: int, body: bytes
) -> None:
    url = await serve(says(answer))

    found = await posted(http, url)
    await asyncio.sleep(0.02)  # the peer closes
    same = await http.post(url, content=b"{}")

    assert (found.status, found.body) == (same.status_code, same.content) == (status, body)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", id="signed length"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 30 + b"\r\n\r\nok", id="overflowing length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            id="length and chunks",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok", id="unknown transfer coding"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            id="two transfer codings",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok", id="space before the colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nok", id="folded header"),
        pytest.param(b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", id="bare line feeds"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nok", id="another protocol"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 4_000, id="hints without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"\r\n", id="headers without end"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 20_000, id="endless trailers"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x" * 200_000, id="an endless extension"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nok", id="unknown coding"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(b"ok")[:-3], id="gzip that is cut"
        ),
    ],
)
async def test_what_two_programs_could_read_differently_is_no_answer(
    http: httpx.AsyncClient, serve: Serve, answer: bytes
) -> None:
    url = await serve(says(answer))

    with pytest.raises(httpx.RemoteProtocolError) as caught:
        await posted(http, url)
    await asyncio.sleep(0.02)  # the peer closes
    with pytest.raises(httpx.RemoteProtocolError) as same:
        await http.post(url, content=b"{}")

    assert (type(caught.value), str(caught.value)) == (type(same.value), str(same.value))
    assert may_have_arrived(caught.value)


async def test_the_answer_to_head_has_no_body(http: httpx.AsyncClient, serve: Serve) -> None:
    url = await serve(says(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"))

    answer = await http.head(url)

    assert (answer.status_code, answer.content) == (200, b"")


# --- one call's answer is no other's --------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", id="a second answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", id="the beginning of one"),
        pytest.param(b"\x00\xff", id="noise"),
    ],
)
async def test_surplus_bytes_are_not_the_next_answer(http: httpx.AsyncClient, serve: Serve, more: bytes) -> None:
    """What follows an answer is not taken for the next."""
    connections, answer = counts(OK + more, OK)
    url = await serve(answer)  # type: ignore[arg-type]

    bodies = [(await posted(http, url)).body for _ in range(3)]

    assert bodies == [b"ok"] * 3
    assert connections == [1, 1, 1]  # each connection was used once


async def test_what_comes_while_nothing_is_asked_closes_the_connection(http: httpx.AsyncClient, serve: Serve) -> None:
    connections = []

    async def talks(reader: Reader, writer: Writer) -> None:
        connections.append(1)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await asyncio.sleep(0.01)
        writer.write(OK.replace(b"ok", b"no"))
        await reader.read()

    url = await serve(talks)
    first = await posted(http, url)
    await asyncio.sleep(0.05)
    second = await posted(http, url)

    assert (first.body, second.body, len(connections)) == (b"ok", b"ok", 2)


async def test_an_answer_before_the_question_is_none(http: httpx.AsyncClient, serve: Serve) -> None:
    async def greets(reader: Reader, writer: Writer) -> None:
        writer.write(OK)
        await reader.read()

    url = await serve(greets)
    answer = asyncio.create_task(posted(http, url, seconds=0.5))

    await asyncio.wait({answer})

    assert answer.exception() is None or isinstance(answer.exception(), httpx.TransportError)


@pytest.mark.parametrize("header", ["a\r\nX-Other: b", "a\nb", "a\rb", "a\0b"])
async def test_a_header_is_one_line(http: httpx.AsyncClient, serve: Serve, header: str) -> None:
    connections, answer = counts(OK)
    url = await serve(answer)  # type: ignore[arg-type]

    with pytest.raises(httpx.LocalProtocolError) as caught:
        await transport.fetch(http, "POST", url, {"X-Name": header}, b"", seconds=5, max_bytes=10)

    assert not may_have_arrived(caught.value)
    assert connections == []


async def test_a_large_body_arrives_as_it_is(http: httpx.AsyncClient, serve: Serve) -> None:
    got = bytearray()

    async def reads(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        got.extend(await reader.readexactly(3_000_000))
        writer.write(OK)
        await reader.read()

    body = bytes(range(250)) * 12_000
    await transport.fetch(http, "POST", await serve(reads), {}, body, seconds=5, max_bytes=10)

    assert got == body


# --- connections that are kept --------------------------------------------------------------------


async def test_closed_kept_connection_costs_no_call(http: httpx.AsyncClient, serve: Serve) -> None:
    """A GET goes out again over a new one; of a POST nobody knows whether it arrived."""

    async def closes_after_one(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")  # the next request, which it does not answer any more

    url = await serve(closes_after_one)
    first = await http.get(url)
    again = await http.get(url)
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        await posted(http, url)

    assert (first.text, again.text) == ("ok", "ok")
    assert may_have_arrived(caught.value)


async def test_a_connection_that_nobody_uses_is_closed(
    http: httpx.AsyncClient, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "KEEP_SECONDS", 0.05)
    closed = asyncio.Event()

    async def watches(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()
        await reader.read()
        closed.set()

    await posted(http, await serve(watches))

    async with asyncio.timeout(2):
        assert await closed.wait()


async def test_an_upload_ends_when_the_peer_has_answered(http: httpx.AsyncClient, serve: Serve) -> None:
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(1)
            yield bytes(65_536)
            await asyncio.sleep(0)

    async def refuses(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await reader.readexactly(500_000)

    async with asyncio.timeout(5):
        answer = await http.post(await serve(refuses), content=endless())

    assert answer.status_code == 413


# --- bounds ---------------------------------------------------------------------------------------


async def test_deadline_and_cap_hold_past_httpx_s_objects(http: httpx.AsyncClient, serve: Serve) -> None:
    with pytest.raises(DeadlineExceeded):
        await posted(http, await serve(drips), seconds=0.1)
    with pytest.raises(BodyTooLarge, match="1000 bytes"):
        await posted(http, await serve(never_ends), max_bytes=1_000)
    with pytest.raises(BodyTooLarge):
        await posted(http, await serve(says(OK)), max_bytes=1)
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(BodyTooLarge):
        await posted(http, await serve(says(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n", bomb)))


async def test_stream_limits_hold_while_it_is_read(http: httpx.AsyncClient, serve: Serve) -> None:
    """A stream is held to both as it is read."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"

    async def dripping(reader: Reader, writer: Writer) -> None:
        writer.write(head)
        while True:
            writer.write(b":\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def read(answer: str, **bounds: float) -> None:
        limits = {"seconds": 5.0, "max_bytes": 1_000_000, **bounds}
        stream = await transport.fetch(http, "POST", answer, {}, b"", streams="text/event-stream", **limits)  # type: ignore[arg-type]
        assert isinstance(stream, httpx.Response)
        try:
            await stream.aread()
        finally:
            await stream.aclose()

    url = await serve(dripping)
    with pytest.raises(DeadlineExceeded):
        await read(url, seconds=0.1)
    with pytest.raises(BodyTooLarge):
        await read(url, max_bytes=5)


async def test_slow_reader_holds_the_peer_not_the_memory(http: httpx.AsyncClient, serve: Serve) -> None:
    """A slow reader holds the peer up and not the memory."""
    sent = 0

    async def floods(reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(65_536))
            await writer.drain()
            sent += 65_536

    async with http.stream("GET", await serve(floods), extensions={"max_bytes": 10**9}) as answer:
        pieces = answer.aiter_raw()
        await anext(pieces)
        await asyncio.sleep(0.2)
        before = sent
        await asyncio.sleep(0.2)

        assert sent == before  # both sides' buffers are full
        for _ in range(50):
            await anext(pieces)
        await pieces.aclose()  # type: ignore[attr-defined]
    assert sent > before


# --- any bytes at all -----------------------------------------------------------------------------

bodies = st.binary(max_size=300)
framings = st.sampled_from(["length", "chunks", "end"])


def framed(body: bytes, framing: str, cuts: list[int]) -> bytes:
    if framing == "length":
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    if framing == "end":
        return b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body
    pieces = [p for p in split(body, cuts) if p]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in pairwise(at)]


async def answered(pieces: list[bytes]) -> Whole | httpx.TransportError:
    """What becomes of an answer that arrives in these pieces."""

    async def writes(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    async with serving(writes) as url, transport.make_client(seconds=2) as http:
        try:
            return await posted(http, url, seconds=2)
        except httpx.TransportError as exc:
            return exc


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=bodies, framing=framings, cuts=st.lists(st.integers(0, 1_000), max_size=6))
def test_answer_is_the_same_however_it_is_cut(body: bytes, framing: str, cuts: list[int]) -> None:
    """However an answer is cut into pieces it is the same."""
    found = asyncio.run(answered(split(framed(body, framing, cuts), cuts)))

    assert isinstance(found, Whole), found
    assert (found.status, found.body) == (200, body)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=bodies,
    framing=framings,
    cuts=st.lists(st.integers(0, 1_000), max_size=4),
    changes=st.lists(st.tuples(st.integers(0, 1_000), st.binary(max_size=3)), min_size=1, max_size=4),
)
def test_random_peers_give_answers_or_transport_errors(
    body: bytes, framing: str, cuts: list[int], changes: list[tuple[int, bytes]]
) -> None:
    """Whatever a peer says is an answer or an error of the transport."""
    data = bytearray(framed(body, framing, cuts))
    for at, put in changes:
        at %= len(data) + 1
        data[at : at + len(put)] = put

    found = asyncio.run(answered(split(bytes(data), cuts)))

    assert isinstance(found, Whole | httpx.TransportError)
    assert not isinstance(found, DeadlineExceeded), bytes(data)


async def test_invalid_coding_is_a_fault_of_the_answer(http: httpx.AsyncClient, serve: Serve) -> None:
    """A coding that is none is a fault of the answer."""
    url = await serve(says(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-encoding: gzip\r\n\r\nnope"))

    with pytest.raises(BadCoding):
        await posted(http, url)
