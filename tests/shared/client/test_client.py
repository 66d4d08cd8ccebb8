"""The HTTP client against real sockets that refuse, hang, drip, cut, reset and lie."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
import respx
import uvloop

from load.processes.ports import free_port
from shared.client import client as transport
from shared.client import descriptors
from shared.client.client import (
    AddressRefused,
    BadCoding,
    BodyTooLarge,
    DeadlineExceeded,
    NoDescriptor,
    UnknownHost,
    may_have_arrived,
)
from shared.http_failures import failure_from_error

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
Answer = Callable[[Reader, Writer], Awaitable[None]]
Serve = Callable[[Answer], Awaitable[str]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers: `url = await serve(answer)`; each connection is handed to `answer`, then closed."""
    async with contextlib.AsyncExitStack() as stack:

        async def started(answer: Answer) -> str:
            return await stack.enter_async_context(serving(answer))

        yield started


@contextlib.asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    open_connections: set[asyncio.Task[None]] = set()

    async def connected(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task in open_connections:
        task.cancel()
    await asyncio.gather(*open_connections, return_exceptions=True)


def says(*pieces: bytes) -> Answer:
    """Reads a request, writes `pieces`, closes."""

    async def answer(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
        await writer.drain()

    return answer


async def closes_unread(reader: Reader, writer: Writer) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def hangs(reader: Reader, writer: Writer) -> None:
    await reader.read()
    await reader.read()


async def keeps_answering(reader: Reader, writer: Writer) -> None:
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)


async def drips(reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.01)


async def never_ends(reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(bytes(65_536))
        await writer.drain()


def resets_after(*pieces: bytes) -> Answer:
    async def answer(reader: Reader, writer: Writer) -> None:
        await says(*pieces)(reader, writer)
        await asyncio.sleep(0.02)  # what was written must leave before the reset overtakes it
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return answer


def open_files() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))


# --- the call never reached anybody --------------------------------------------------------------


async def test_a_refused_connection_says_where_and_why() -> None:
    port = free_port()
    async with transport.make_client() as client:
        with pytest.raises(httpx.ConnectError, match=f"127.0.0.1:{port}: Connection refused") as caught:
            await client.post(f"http://127.0.0.1:{port}/execute", json={})

    assert type(caught.value) is httpx.ConnectError
    assert not may_have_arrived(caught.value)


async def test_an_unknown_host_is_its_own_error() -> None:
    async with transport.make_client() as client:
        with pytest.raises(UnknownHost) as caught:
            await client.get("http://nobody.invalid/")

    assert not may_have_arrived(caught.value)


async def test_slow_lookup_is_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look up that takes too long is an unknown host."""
    loop = asyncio.get_running_loop()

    async def slow(*args: object, **kwargs: object) -> list[object]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(loop, "getaddrinfo", slow)
    async with transport.make_client(connect_seconds=0.05) as client:
        with pytest.raises(UnknownHost, match=r"within 0\.05 s"):
            await client.get("http://slow.example/")


async def test_a_broken_tls_handshake_never_carried_the_call(serve: Serve) -> None:
    async def speaks_no_tls(reader: Reader, writer: Writer) -> None:
        writer.write(b"220 hello\r\n")
        await reader.read()

    url = await serve(speaks_no_tls)
    async with transport.make_client() as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get(url.replace("http:", "https:"))

    assert not may_have_arrived(caught.value)


async def test_connection_that_does_not_open_times_out() -> None:
    """A connection that does not open is a connect timeout."""
    with socket.socket() as deaf, contextlib.ExitStack() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # more than the backlog: the next SYN is dropped
            ahead = waiting.enter_context(socket.socket())
            ahead.setblocking(False)
            ahead.connect_ex(deaf.getsockname())
        async with transport.make_client(connect_seconds=0.1) as client:
            with pytest.raises(httpx.ConnectTimeout) as caught:
                await client.post(f"http://127.0.0.1:{deaf.getsockname()[1]}/")

    assert not may_have_arrived(caught.value)


async def test_pool_timeout_gives_the_place_back(serve: Serve) -> None:
    """No free connection is a pool timeout and the place comes back."""
    hanging, answering = await serve(hangs), await serve(keeps_answering)
    async with transport.make_client(max_connections=1, connect_seconds=0.05) as client:
        first = asyncio.create_task(client.get(hanging), name="first")
        await asyncio.sleep(0.01)
        with pytest.raises(httpx.PoolTimeout) as caught:
            await client.get(answering)
        first.cancel()
        await asyncio.wait([first])

        assert not may_have_arrived(caught.value)
        assert [(await client.get(answering)).text for _ in range(2)] == ["ok", "ok"]


async def test_a_line_break_in_a_header_is_never_sent(serve: Serve) -> None:
    url = await serve(keeps_answering)
    async with transport.make_client() as client:
        with pytest.raises(httpx.LocalProtocolError) as caught:
            await client.get(url, headers={"X-Name": "a\r\nX-Other: b"})

    assert not may_have_arrived(caught.value)


async def test_unreadable_host_is_an_error_of_the_call() -> None:
    """A host that the library cannot read is an error of the call."""
    async with transport.make_client() as client:
        with pytest.raises(httpx.LocalProtocolError, match="host") as caught:
            await client.get("http://xn--/")

    assert not may_have_arrived(caught.value)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "file:///etc/passwd", "http://127.1/", "http://2130706433/"])
async def test_what_is_no_http_address_is_not_called(url: str) -> None:
    async with transport.make_client() as client:
        with pytest.raises(httpx.UnsupportedProtocol) as caught:
            await client.get(url)

    assert not may_have_arrived(caught.value)


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]"])
async def test_the_open_web_never_leads_home(serve: Serve, host: str) -> None:
    """The check sees the address that is connected to, whatever the name said."""
    calls = []

    async def noted(reader: Reader, writer: Writer) -> None:
        calls.append(1)

    port = httpx.URL(await serve(noted)).port
    async with transport.make_client(policy="web") as client:
        with pytest.raises(AddressRefused, match="not allowed") as caught:
            await client.get(f"http://{host}:{port}/")

    assert not may_have_arrived(caught.value)
    assert calls == []


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]", "0.0.0.0"])
async def test_agents_never_live_at_metadata_addresses(host: str) -> None:
    async with transport.make_client() as client:
        with pytest.raises(AddressRefused):
            await client.get(f"http://{host}/")


async def test_private_agents_can_be_forbidden(serve: Serve) -> None:
    url = await serve(keeps_answering)
    async with transport.make_client(private=False) as client:
        with pytest.raises(AddressRefused):
            await client.get(url)


async def test_several_forbidden_addresses_of_one_name_stay_one_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    rebinds(monkeypatch, "169.254.169.254", "100.100.100.200")
    async with transport.make_client() as client:
        with pytest.raises(AddressRefused):
            await client.get("http://rebound.example/")


async def test_a_forbidden_address_is_skipped_when_another_is_allowed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = httpx.URL(await serve(keeps_answering)).port
    rebinds(monkeypatch, "169.254.169.254", "127.0.0.1")
    async with transport.make_client() as client:
        assert (await client.get(f"http://rebound.example:{port}/")).text == "ok"


def rebinds(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    async def looked_up(host: str, port: int, **kwargs: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up)


# --- the call may have arrived --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(closes_unread, httpx.RemoteProtocolError, id="closed without an answer"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"), httpx.RemoteProtocolError, id="cut"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhal"),
            httpx.RemoteProtocolError,
            id="cut in a chunk",
        ),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nwhat\r\n"),
            httpx.RemoteProtocolError,
            id="broken chunk",
        ),
        pytest.param(
            resets_after(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
            httpx.RemoteProtocolError,
            id="reset in the body",
        ),
        pytest.param(resets_after(), httpx.ReadError, id="reset before an answer"),
        pytest.param(says(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), httpx.RemoteProtocolError, id="not HTTP"),
        pytest.param(says(b"\x00\xff" * 200), httpx.RemoteProtocolError, id="noise"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\n"), httpx.RemoteProtocolError, id="half a head"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"), httpx.RemoteProtocolError, id="huge header"
        ),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-encoding: gzip\r\n\r\nnope"),
            BadCoding,
            id="not gzip",
        ),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-encoding: gzip, gzip\r\n\r\nnope"),
            BadCoding,
            id="unknown encoding",
        ),
    ],
)
async def test_a_broken_answer_may_have_been_reached(
    serve: Serve, answer: Answer, error: type[httpx.TransportError]
) -> None:
    url = await serve(answer)
    async with transport.make_client() as client:
        with pytest.raises(error) as caught:
            await client.post(url, json={})

    assert type(caught.value) is error
    assert may_have_arrived(caught.value)
    assert str(caught.value)
    assert caught.value.request.url == url


async def test_cut_head_is_named_and_hidden(serve: Serve) -> None:
    """Its fields are nobody's business: the error stands in tasks and logs."""
    url = await serve(says(b"HTTP/1.1 200 OK\r\nset-cookie: s3cret\r\n"))
    async with transport.make_client() as client:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await client.post(url)

    assert str(caught.value) == "Server disconnected in the middle of the response's headers"


async def test_silence_between_two_reads_is_a_read_timeout(serve: Serve) -> None:
    url = await serve(hangs)
    async with transport.make_client(read_seconds=0.05) as client:
        with pytest.raises(httpx.ReadTimeout) as caught:
            await client.get(url)

    assert may_have_arrived(caught.value)


@pytest.mark.parametrize("answer", [hangs, drips])
async def test_a_deadline_is_for_the_whole_call(serve: Serve, answer: Answer) -> None:
    """A peer that sends a byte now and then never runs into a read time-out."""
    url = await serve(answer)
    async with transport.make_client(seconds=0.1, read_seconds=5) as client:
        with pytest.raises(DeadlineExceeded) as caught:
            await client.get(url)

    assert may_have_arrived(caught.value)


async def test_one_call_may_have_its_own_deadline(serve: Serve) -> None:
    url = await serve(hangs)
    async with transport.make_client() as client:
        with pytest.raises(DeadlineExceeded):
            await client.get(url, extensions={"deadline": 0.05})


async def test_an_endless_body_is_cut_at_the_cap(serve: Serve) -> None:
    url = await serve(never_ends)
    async with transport.make_client(max_bytes=1_000_000) as client:
        with pytest.raises(BodyTooLarge, match="1000000 bytes") as caught:
            await client.get(url)

    assert may_have_arrived(caught.value)


async def test_the_cap_counts_decoded_bytes(serve: Serve) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    url = await serve(says(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n", bomb))
    sizes = []

    async def read(client: httpx.AsyncClient) -> None:
        async with client.stream("GET", url) as answer:
            async for piece in answer.aiter_bytes():
                sizes.append(len(piece))

    async with transport.make_client(max_bytes=2_000_000) as client:
        with pytest.raises(BodyTooLarge):
            await read(client)

    assert sum(sizes) <= 2_000_000
    assert max(sizes) < 500_000  # never the whole bomb in one piece


async def test_one_call_may_have_its_own_cap(serve: Serve) -> None:
    url = await serve(says(OK))
    async with transport.make_client() as client:
        with pytest.raises(BodyTooLarge):
            await client.get(url, extensions={"max_bytes": 1})


# --- what arrives, arrives ------------------------------------------------------------------------


async def test_a_call_carries_method_path_headers_and_body(serve: Serve) -> None:
    seen = bytearray()

    async def noted(reader: Reader, writer: Writer) -> None:
        seen.extend(await reader.readuntil(b"\r\n\r\n"))
        seen.extend(await reader.readexactly(5))
        writer.write(OK)

    url = await serve(noted)
    async with transport.make_client() as client:
        await client.put(f"{url}/a%2Fb/%C3%A4?q=1%202%7E", content=b"hello", headers={"Muster-Envelope": "e"})

    head, _, body = bytes(seen).partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /a%2Fb/%C3%A4?q=1%202%7E HTTP/1.1\r\n")
    assert b"muster-envelope: e" in head.lower()
    assert b"content-length: 5" in head.lower()
    assert b"content-type" not in head.lower()
    assert body == b"hello"


@pytest.mark.parametrize("read_first", [False, True])
async def test_a_streamed_body_has_one_framing(serve: Serve, read_first: bool) -> None:
    seen = bytearray()

    async def noted(reader: Reader, writer: Writer) -> None:
        seen.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        await writer.drain()
        await reader.read()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"hel"
        yield b"lo"

    url = await serve(noted)
    async with transport.make_client() as client:
        request = client.build_request("POST", url, content=pieces())
        if read_first:
            await request.aread()
        await client.send(request)

    framings = [b"content-length" in seen.lower(), b"transfer-encoding: chunked" in seen.lower()]
    assert framings == [read_first, not read_first]


async def test_gzip_arrives_decoded_and_without_its_headers(serve: Serve) -> None:
    packed = gzip.compress(b"the tides")
    head = b"HTTP/1.1 203 Odd\r\ncontent-encoding: gzip\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"
    url = await serve(says(head, b"content-length: %d\r\n\r\n" % len(packed), packed))
    async with transport.make_client() as client:
        answer = await client.get(url)

    assert (answer.status_code, answer.reason_phrase, answer.text) == (203, "Odd", "the tides")
    assert "content-encoding" not in answer.headers
    assert "content-length" not in answer.headers
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


async def test_redirects_are_answers_and_cookies_are_forgotten(serve: Serve) -> None:
    seen = []

    async def redirects(reader: Reader, writer: Writer) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 302 Found\r\nlocation: /x\r\nset-cookie: a=1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )

    url = (await serve(redirects)).replace("127.0.0.1", "localhost")  # of plain addresses nobody keeps cookies
    async with transport.make_client() as client:
        answers = [await client.get(url), await client.get(url)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert not any(b"cookie" in head.lower() for head in seen)
    assert len(seen) == 2


async def test_proxies_of_the_environment_are_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    url = await serve(says(OK))
    async with transport.make_client() as client:
        assert (await client.get(url)).text == "ok"


async def test_a_stream_arrives_piece_by_piece(serve: Serve) -> None:
    heard = asyncio.Event()

    async def streams(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await heard.wait()  # the second piece is sent only after the first has arrived
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await writer.drain()

    url = await serve(streams)
    pieces = []
    async with transport.make_client(seconds=5) as client, client.stream("GET", url) as answer:
        async for piece in answer.aiter_bytes():
            pieces.append(piece)
            heard.set()

    assert pieces == [b"one", b"two"]


# --- connections ----------------------------------------------------------------------------------


async def test_calls_in_a_row_use_one_connection(serve: Serve) -> None:
    connections = []

    async def counted(reader: Reader, writer: Writer) -> None:
        connections.append(1)
        await keeps_answering(reader, writer)

    url = await serve(counted)
    async with transport.make_client() as client:
        for _ in range(5):
            await client.post(url, json={})

    assert len(connections) == 1


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\nbegin"], ids=["before the answer", "in the body"])
async def test_a_cancelled_call_closes_its_connection(serve: Serve, head: bytes) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def watched(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        arrived.set()
        await reader.read()
        closed.set()

    url = await serve(watched)
    async with transport.make_client() as client:
        call = asyncio.create_task(client.get(url), name="call")
        await arrived.wait()
        await asyncio.sleep(0.01)
        call.cancel()
        async with asyncio.timeout(1):
            await closed.wait()

    assert call.cancelled()


async def test_stream_left_early_frees_its_connection(serve: Serve) -> None:
    """A stream left early closes its connection and frees its place."""
    url, other = await serve(never_ends), await serve(keeps_answering)
    async with transport.make_client(max_connections=1, connect_seconds=0.5) as client:
        async with client.stream("GET", url) as answer:
            await anext(answer.aiter_bytes())

        assert (await client.get(other)).text == "ok"


async def test_two_hundred_failures_leave_nothing_open(serve: Serve) -> None:
    bad = [
        await serve(closes_unread),
        await serve(resets_after()),
        await serve(hangs),
        await serve(never_ends),
        f"http://127.0.0.1:{free_port()}",
    ]
    good = await serve(says(OK))
    limits = {"deadline": 0.1, "max_bytes": 1000}

    async def failed(client: httpx.AsyncClient, url: str) -> bool:
        try:
            await client.post(url, json={}, extensions=limits)
        except httpx.TransportError:
            return True
        return False

    async with transport.make_client(max_connections=40) as client:
        before = open_files()
        outcomes = await asyncio.gather(*(failed(client, bad[i % len(bad)]) for i in range(200)))
        await settled(lambda: open_files() <= before + 2)

        assert all(outcomes)
        assert open_files() <= before + 2  # the loop's own, made at first use
        answers = await asyncio.gather(*(client.get(good) for _ in range(40)))
        assert {answer.text for answer in answers} == {"ok"}


async def settled(condition: Callable[[], bool]) -> None:
    """Lets the servers notice that their clients are gone, for 3 s at the most."""
    for _ in range(300):
        if condition():
            return
        await asyncio.sleep(0.01)


def test_client_needs_no_loop_and_runs_under_uvloop() -> None:
    """A client is made without a loop and works under uvloop."""
    client = transport.make_client(seconds=5)

    async def calls() -> list[str]:
        async with serving(keeps_answering) as url, client:
            refused = await outcome(client, f"http://127.0.0.1:{free_port()}")
            return [await outcome(client, url), refused, await outcome(client, "http://169.254.169.254/")]

    assert uvloop.run(calls()) == ["ok", "ConnectError", "AddressRefused"]


async def outcome(client: httpx.AsyncClient, url: str) -> str:
    try:
        return (await client.get(url)).text
    except httpx.TransportError as exc:
        return type(exc).__name__


async def test_an_unused_client_closes() -> None:
    client = transport.make_client()
    await client.aclose()

    assert client.is_closed


# --- fakes ----------------------------------------------------------------------------------------


async def test_deadline_and_cap_hold_for_fakes_too() -> None:
    async def answers(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/slow":
            await asyncio.sleep(60)
        return httpx.Response(200, json={"path": request.url.path})

    async with transport.make_client(transport=httpx.MockTransport(answers), seconds=0.05) as client:
        assert (await client.get("http://agent/quick")).json() == {"path": "/quick"}
        with pytest.raises(DeadlineExceeded):
            await client.get("http://agent/slow")
        with pytest.raises(BodyTooLarge):
            await client.get("http://agent/quick", extensions={"max_bytes": 3})


async def test_the_raw_body_of_a_fake_can_be_streamed() -> None:
    fake = httpx.MockTransport(lambda request: httpx.Response(200, content=b"tides"))
    async with transport.make_client(transport=fake) as client, client.stream("GET", "http://agent/") as answer:
        assert [piece async for piece in answer.aiter_raw()] == [b"tides"]


async def test_respx_mocks_the_client() -> None:
    async with respx.mock(using="httpx") as mock, transport.make_client() as client:
        mock.get("http://agent/health").respond(json={"status": "healthy"})

        assert (await client.get("http://agent/health")).json() == {"status": "healthy"}


@contextlib.contextmanager
def no_descriptor() -> Iterator[None]:
    """This process may open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    descriptors.limit.cache_clear()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        descriptors.limit.cache_clear()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "nobody.invalid"])
async def test_no_descriptor_is_not_the_peers_fault(host: str) -> None:
    """Where no socket can be opened, that is said, also where it shows first in looking up the name."""
    async with transport.make_client(connect_seconds=0.2) as client:
        with no_descriptor(), pytest.raises(NoDescriptor) as caught:
            await client.get(f"http://{host}:9/")

    failure = failure_from_error(caught.value, 1.0)
    assert (failure.type, failure.status, failure.retryable) == ("overloaded", 503, True)
    assert (failure.reached, failure.blames_agent, may_have_arrived(caught.value)) == (False, False, False)
