"""`/agents/{name}/…`: what goes through to the agent and back, and what does not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from tests.support.fakes import Network, Suite, bad_peer, eventually, hangs, serving


def mirror() -> FastAPI:
    """An agent that says what it was asked."""
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "healthy"}

    @app.get("/count")
    async def count() -> StreamingResponse:
        async def lines() -> AsyncIterator[bytes]:
            for i in range(3):
                yield f"{i} {time.monotonic()}\n".encode()
                await asyncio.sleep(0.1)

        return StreamingResponse(lines(), media_type="text/plain")

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def mirrored(request: Request) -> Response:
        said = {
            "method": request.method,
            "path": request.scope["raw_path"].decode(),
            "query": request.url.query,
            "headers": {
                k: ", ".join(request.headers.getlist(k)).encode("latin-1").decode("utf-8", "replace")
                for k in request.headers
            },
            "body": (await request.body()).decode("latin-1"),
        }
        headers = {"X-Seen": "yes", "Set-Cookie": "a=b", "Connection": "close, X-Back", "X-Back": "hop"}
        return Response(json.dumps(said), 418, headers=headers, media_type="application/json")

    return app


@contextlib.asynccontextmanager
async def mirrored(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    """The mirror as agent `mirror`, both it and the coordinator behind real ports; a client of the coordinator."""
    async with serving(mirror()) as agent, serving(suite.app, lifespan=False) as url:
        await suite.register("mirror", agent)
        await suite.sees(agent.partition("//")[2], "healthy")
        async with httpx.AsyncClient(base_url=url) as client:
            yield client


async def test_a_request_goes_through_whole_without_its_prefix(coordinator: Suite) -> None:
    async with mirrored(coordinator) as client:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            sends = method in ("POST", "PUT", "PATCH")
            answer = await client.request(
                method,
                "/agents/mirror/v1/a%2Fb/c%20d?x=1&x=2&y=%C3%A9",
                content=b"\x00\xff" * 1_000 if sends else None,
                headers={"X-Mine": "yes", "Accept": "text/odd"},
            )

            said = answer.json()
            assert (answer.status_code, answer.headers["x-seen"], said["method"]) == (418, "yes", method)
            assert (said["path"], said["query"]) == ("/v1/a%2Fb/c%20d", "x=1&x=2&y=%C3%A9")
            assert (said["headers"]["x-mine"], said["headers"]["accept"]) == ("yes", "text/odd")
            assert said["body"] == ("\x00\xff" * 1_000 if sends else "")


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/ns/agent/mirror/v1/a%2Fb/c%20d?x=1&x=2", ("/v1/a%2Fb/c%20d", "x=1&x=2")),
        ("/ns/agent/mirror", ("/", "")),
        ("/ns/agent/mirror/", ("/", "")),
        ("/ns/agent/mirror?x=1", ("/", "x=1")),
        ("/ns/agent/mirror//x", ("//x", "")),
    ],
)
async def test_the_paths_of_kaos_lead_to_the_agent_too(coordinator: Suite, path: str, seen: tuple[str, str]) -> None:
    async with mirrored(coordinator) as client:
        said = (await client.post(path, content=b"x")).json()

    assert (said["path"], said["query"], said["body"]) == (*seen, "x")


async def test_hop_by_hop_and_secret_headers_stay(coordinator: Suite) -> None:
    """What belongs to one hop or is secret stays there."""
    async with mirrored(coordinator) as client:
        answer = await client.get(
            "/agents/mirror/x", headers={"Authorization": "Bearer secret", "Cookie": "a=b", "TE": "trailers"}
        )

        seen = answer.json()["headers"]
        assert {"authorization", "cookie", "te"} & set(seen) == set()
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "named", [[("Connection", "x-hop, Close,X-Other")], [("Connection", "close"), ("Connection", "X-HOP")]]
)
async def test_headers_named_by_connection_stay(coordinator: Suite, named: list[tuple[str, str]]) -> None:
    """What `Connection` names belongs to one hop, on the way there and back (RFC 9110, section 7.6.1)."""
    async with mirrored(coordinator) as client:
        answer = await client.get("/agents/mirror/x", headers=[("X-Hop", "1"), ("X-Mine", "yes"), *named])

        seen = answer.json()["headers"]
        assert ("x-hop" in seen, seen["x-mine"], "x-back" in answer.headers) == (False, "yes", False)


async def test_via_tells_the_suite_and_passes_others_on(coordinator: Suite) -> None:
    """The agent sees through whom a request came: others' entries, then this suite, by the same name each time."""
    async with mirrored(coordinator) as client:
        first = (await client.get("/agents/mirror/x")).json()["headers"]["via"]
        other = "1.1 muster-0123456789ab (a, muster-0), HTTP/2 edge"
        second = (await client.get("/agents/mirror/x", headers={"Via": other})).json()["headers"]["via"]

    assert re.fullmatch(r"1\.1 muster-[0-9a-f]{12}", first)
    assert second == f"{other}, {first}"


@pytest.mark.parametrize("path", ["/agents/mirror", "/ns/agent/mirror"])
async def test_the_gateway_does_not_follow_itself(coordinator: Suite, path: str) -> None:
    """An instance whose endpoint is its own agent's path here is never healthy, beside one that is well."""
    async with mirrored(coordinator) as client:
        loop = f"{client.base_url}{path}"
        await coordinator.register("mirror", loop)
        await coordinator.sees(loop.partition("//")[2], "unreachable")

        answers = [(await client.get("/agents/mirror/x")).status_code for _ in range(4)]

        assert answers == [418] * 4
        assert (await coordinator.agents())[loop.partition("//")[2]].last_error == "/health answered HTTP 508."


async def test_second_pass_is_refused(coordinator: Suite) -> None:
    """A request that has passed this gateway already, and perhaps others since, is 508."""
    async with mirrored(coordinator) as client:
        own = (await client.get("/agents/mirror/x")).json()["headers"]["via"].split()[1]
        for via in (f"1.1 {own}", f"1.0 front, HTTP/1.1 {own.upper()} (twice), 1.1 back", f"1.1 a,1.1\t{own}"):
            answer = await client.get("/agents/mirror/x", headers={"Via": via})

            assert (answer.status_code, answer.json()["type"]) == (508, "urn:muster:problem:loop_detected"), via


async def test_a_header_that_is_no_ascii_goes_through(coordinator: Suite) -> None:
    async with mirrored(coordinator) as client:
        answer = await client.get("/agents/mirror/x", headers=[(b"X-Name", "Zoë".encode())])

        assert answer.json()["headers"]["x-name"] == "Zoë"


async def test_any_header_bytes_pass_and_the_place_returns(coordinator: Suite) -> None:
    """An answer with a header of any bytes goes through and gives the place back."""

    async def answers(request: object, writer: asyncio.StreamWriter) -> None:
        head = "HTTP/1.1 200 OK\r\nX-Name: ✓\r\nConnection: close\r\nContent-Length: 2"  # as the peer does after each
        writer.write(f"{head}\r\n\r\nok".encode())

    async with bad_peer(answers) as peer:
        await coordinator.register("ticks", peer.url)
        await coordinator.sees(peer.host, "healthy")

        answer = await coordinator.client.post("/agents/ticks/x", content=b"x")

        assert (answer.status_code, answer.text) == (200, "ok")
        assert dict(answer.headers.raw)[b"X-Name"] == "✓".encode()
        assert (await coordinator.agents())[peer.host].load == 0


async def test_expect_continue_is_answered_by_the_coordinator(coordinator: Suite) -> None:
    """A caller that waits to be told to go on is told by the coordinator."""
    async with mirrored(coordinator) as client:
        answer = await client.post("/agents/mirror/x", content=b"x", headers={"Expect": "100-continue"})

        assert (answer.json()["body"], "expect" in answer.json()["headers"]) == ("x", False)


async def test_hang_up_after_the_head_ends_the_load(coordinator: Suite) -> None:
    """Who hangs up between head and body is no load any more."""
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        gone.set()
        await asyncio.sleep(0.05)

    async with mirrored(coordinator):
        path = "/agents/mirror/x"
        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
        await coordinator.app(scope | {"headers": [], "asgi": {"version": "3.0", "spec_version": "2.3"}}, receive, send)

        assert [instance.load for instance in (await coordinator.agents()).values()] == [0]


async def test_an_answer_streams(coordinator: Suite) -> None:
    async with mirrored(coordinator) as client, client.stream("GET", "/agents/mirror/count") as answer:
        came = [(float(line.split()[1]), time.monotonic()) async for line in answer.aiter_lines()]

    (_, first_arrived), _, (last_sent, _) = came
    assert first_arrived < last_sent


async def test_two_megabytes_go_up_in_pieces(coordinator: Suite) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(19):
            yield b"x" * 100_000

    async with mirrored(coordinator) as client:
        answer = await client.post("/agents/mirror/upload", content=pieces())

        assert len(answer.json()["body"]) == 1_900_000


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("../tasks", None),
        ("a/../../tasks", None),
        ("%2e%2e/tasks", None),
        ("a/%2E%2E/b", None),
        ("./x", None),
        ("..%2ftasks", "/..%2ftasks"),  # one segment: the agent's to read
        ("//tasks", "///tasks"),
        ("a%zz", "/a%zz"),
    ],
)
@pytest.mark.parametrize("prefix", ["/agents/mirror", "/ns/agent/mirror"])
async def test_nobody_climbs_out_of_the_agent(coordinator: Suite, prefix: str, path: str, seen: str | None) -> None:
    async with mirrored(coordinator) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(f"GET {prefix}/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()

    assert head.startswith(b"HTTP/1.1 400" if seen is None else b"HTTP/1.1 418")
    assert seen is None or json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["path"] == seen


async def test_an_unknown_agent_is_404(coordinator: Suite) -> None:
    for path in ("/agents/nobody/v1", "/ns/agent/nobody/v1", "/ns/agent/nobody"):
        answer = await coordinator.client.get(path)

        assert (answer.status_code, answer.json()["type"]) == (404, "urn:muster:problem:not_found")


async def test_an_agent_that_cannot_be_reached_is_502(coordinator: Suite) -> None:
    await coordinator.register("gone", "http://gone")
    await coordinator.sees("gone", "unreachable")

    answer = await coordinator.client.get("/agents/gone/v1")

    assert (answer.status_code, answer.headers["content-type"]) == (502, "application/problem+json")
    assert answer.json()["type"] == "urn:muster:problem:agent_unreachable"


async def test_agent_that_dies_during_the_call_is_502(coordinator: Suite, network: Network) -> None:
    """An agent that goes away under the call is 502."""
    async with serving(mirror()) as url:
        await coordinator.register("mirror", url)
        await coordinator.sees(url.partition("//")[2], "healthy")

    assert (await coordinator.client.get("/agents/mirror/v1")).status_code == 502


async def test_an_agent_that_is_too_slow_is_504(network: Network) -> None:
    async with Suite(network, request_timeout=0.3) as suite, bad_peer(hangs) as peer:
        await suite.register("slow", peer.url)
        await suite.sees(peer.host, "healthy")

        answer = await suite.client.post("/agents/slow/v1", content=b"x")

        assert (answer.status_code, answer.json()["type"]) == (504, "urn:muster:problem:timeout")
        assert (await suite.agents())[peer.host].load == 0


async def test_running_gateway_calls_count_as_load(coordinator: Suite) -> None:
    """Calls through the gateway count as load while they run."""
    async with bad_peer(hangs) as peer:
        await coordinator.register("slow", peer.url)
        await coordinator.sees(peer.host, "healthy")
        call = asyncio.create_task(coordinator.client.post("/agents/slow/v1", content=b"x"))

        async def load() -> int:
            return (await coordinator.agents())[peer.host].load

        await eventually(load)

        call.cancel()
        await asyncio.wait([call])

        assert await load() == 0


async def test_hang_up_during_a_body_ends_the_load(coordinator: Suite) -> None:
    """Who hangs up in the middle of a body is no load any more."""
    async with bad_peer(hangs) as peer, serving(coordinator.app, lifespan=False) as url:
        await coordinator.register("slow", peer.url)
        await coordinator.sees(peer.host, "healthy")
        _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(b"POST /agents/slow/v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf")

        async def load() -> int:
            return (await coordinator.agents())[peer.host].load

        async def none() -> bool:
            return await load() == 0

        await eventually(load)
        writer.close()

        await eventually(none)


async def test_an_agents_page_is_sandboxed(network: Network, coordinator: Suite) -> None:
    """Whatever the agent's own policy is: in a browser its page has an origin of its own, and no script."""
    app = FastAPI()

    @app.get("/{path:path}")
    async def page(path: str) -> Response:
        return Response("<script>1</script>", headers={"Content-Security-Policy": "script-src *"})

    network.host("pages", app)
    await coordinator.register("pages", "http://pages", "page")
    await coordinator.sees("pages", "healthy")

    answer = await coordinator.client.get("/agents/pages/page")

    assert answer.headers.get_list("content-security-policy") == ["script-src *", "sandbox"]
    assert answer.headers["x-content-type-options"] == "nosniff"
