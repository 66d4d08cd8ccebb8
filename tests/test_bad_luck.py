"""Agents that are down, slow, silent or lie: each costs its own step and nothing else, in time and with a name."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import Any

import pytest

from coordinator import worker_client
from tests.fakes import Behaviour, Request, Suite, bad_peer, hangs, http_answer, says

Writer = asyncio.StreamWriter
DEEP = b"[" * 100_000 + b"]" * 100_000
SECONDS = 1.0  # what a task may take here


def results(**changes: Any) -> Behaviour:
    """A behaviour: the right result of the step, with changes."""

    async def behaviour(request: Request, writer: Writer) -> None:
        writer.write(http_answer(request.result(**changes)))

    return behaviour


def outputs(json: bytes) -> Behaviour:
    """A behaviour: the right result with this JSON as its output."""

    async def behaviour(request: Request, writer: Writer) -> None:
        writer.write(http_answer(request.result(output="HERE").replace(b'"HERE"', json)))

    return behaviour


def raw(*pieces: bytes) -> Behaviour:
    """A behaviour: these bytes."""

    async def behaviour(request: Request, writer: Writer) -> None:
        for piece in pieces:
            writer.write(piece)

    return behaviour


def streams(*events: bytes, type: str = "text/event-stream", then_hangs: bool = False) -> Behaviour:
    """A behaviour: an event stream of these bytes, which then ends or falls silent."""

    async def behaviour(request: Request, writer: Writer) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {type}\r\n\r\n".encode())
        for event in events:
            writer.write(event)
        await writer.drain()
        if then_hangs:
            await asyncio.Event().wait()

    return behaviour


async def never_ends(request: Request, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while True:
        writer.write(b" " * 65_536)
        await writer.drain()


async def drips(request: Request, writer: Writer) -> None:
    writer.write(http_answer(b"", length=1_000))
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


async def resets(request: Request, writer: Writer) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


LOST = "agent_lost"
BAD = "bad_response"
# name: how the agent behaves, the step error's type, words of its detail
BEHAVIOURS: dict[str, tuple[Behaviour, str, str]] = {
    "hangs": (hangs, "timeout", "No answer within"),
    "drips a byte at a time": (drips, "timeout", "No answer within"),
    "closes without a word": (raw(), LOST, "connection broke"),
    "resets": (resets, LOST, "connection broke"),
    "is cut in the middle": (says(b'{"task_id', length=500), LOST, "connection broke"),
    "speaks no HTTP": (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), LOST, "connection broke"),
    "speaks bytes": (raw(b"\x00\xff\xfe\x80" * 50, b"\r\n\r\n"), LOST, "connection broke"),
    "has bytes in its status line": (raw(b"HTTP/1.1 2\xff0 O\xffK\r\n\r\n"), LOST, "connection broke"),
    "has bytes in its reason": (raw(b"HTTP/1.1 500 O\xffK\r\ncontent-length: 0\r\n\r\n"), "agent_error", "HTTP 500"),
    "has a bad content coding": (says(b"x", more="content-encoding: gzip\r\n"), BAD, ""),
    "answers 500": (says(b"oh no", status="500 Internal Server Error"), "agent_error", "HTTP 500: oh no"),
    "answers 404": (says(b"{}", status="404 Not Found"), "agent_refused", "HTTP 404"),
    "answers 204": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), BAD, "HTTP 204"),
    "is always busy": (
        says(b"", status="503 Service Unavailable", more="retry-after: 60\r\n"),
        "agent_busy",
        "HTTP 503",
    ),
    "redirects": (says(b"", status="307 Temporary Redirect", more="location: http://127.0.0.1/\r\n"), BAD, "redirect"),
    "answers HTML": (says(b"<h1>It works!</h1>", type="text/html"), BAD, "not JSON (text/html): <h1>It works!</h1>"),
    "answers nothing": (says(b""), BAD, "(empty)"),
    "answers a list": (says(b"[]"), BAD, "no object"),
    "answers another shape": (says(b'{"answer": 42}'), BAD, "step_id: Field required"),
    "answers without end": (never_ends, BAD, "larger than 8000000 bytes"),
    "answers deep JSON": (outputs(DEEP), BAD, "not JSON"),
    "answers NaN": (outputs(b"NaN"), BAD, "not JSON"),
    "answers an infinite number": (outputs(b"1e999"), BAD, ""),
    "answers a lone surrogate": (outputs(rb'"\ud800"'), BAD, "not JSON"),
    "answers invalid UTF-8": (outputs(b'"\xff\xfe"'), BAD, "not JSON"),
    "answers a number of 5,000 digits": (outputs(b"9" * 5_000), BAD, ""),
    "answers for another task": (results(task_id="elsewhere"), BAD, "answered for task elsewhere"),
    "answers for another step": (results(step_id="other"), BAD, "step 'other'"),
    "answers for another attempt": (results(attempt=7), BAD, "attempt 7"),
    "gives calls back": (
        raw(http_answer(b'{"step_id": "odd", "attempt": 1, "status": "completed", "usage": {"calls": -9}}')),
        BAD,
        "usage.calls",
    ),
    "used more calls than there are": (
        raw(
            http_answer(
                b'{"step_id": "odd", "attempt": 1, "status": "completed", "usage": {"calls": 1%s}}' % (b"0" * 30)
            )
        ),
        BAD,
        "usage.calls",
    ),
    "says that it failed": (results(status="failed", output=None), "agent_error", "not why"),
    "says that it was cancelled": (results(status="cancelled", output=None), LOST, "by itself"),
    "streams and ends": (streams(b'event: progress\ndata: {"message": "soon"}\n\n'), LOST, "without a result"),
    "streams nothing": (streams(), LOST, "without a result"),
    "streams silence": (streams(b"event: ping\ndata: {}\n\n", then_hangs=True), LOST, "silent for"),
    "streams garbage": (streams(b"event: result\ndata: <html>\n\n"), BAD, "not JSON"),
    "streams odd progress": (streams(b'event: progress\ndata: {"message": 7}\n\n'), BAD, "cannot be read"),
    "streams in a charset that is none": (
        streams(b"event: result\ndata: 00\n\n", type="text/event-stream; charset=hex"),
        BAD,
        "",
    ),
    "streams another attempt's result": (
        streams(b'event: result\ndata: {"step_id": "odd", "attempt": 9, "status": "completed"}\n\n'),
        BAD,
        "attempt 9",
    ),
}


@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_an_agent_that_misbehaves_fails_its_own_step_by_name_and_in_time(
    suite: Suite, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    behaviour, type, said = BEHAVIOURS[name]
    monkeypatch.setattr(worker_client, "SILENCE_SECONDS", 0.1)
    async with bad_peer(behaviour) as peer:
        await suite.register("rogue", peer.url, "oddity")
        await suite.sees(peer.host, "healthy")
        neighbour = asyncio.create_task(suite.execute("Why are there tides?"))
        began = time.monotonic()

        task = await suite.execute(
            "Do something odd",
            timeout_seconds=SECONDS,
            plan=[
                {"id": "odd", "capability": "oddity"},
                {"id": "after", "capability": "research", "needs": ["odd"]},
                {"id": "beside", "capability": "research", "input": {"question": "What is beside?"}},
            ],
        )

    odd, after, beside = task.results
    assert time.monotonic() - began < SECONDS + 1
    assert (task.status, odd.agent, beside.status, after.status) == ("partial", "rogue", "completed", "skipped")
    assert odd.error is not None
    assert (odd.error.type, odd.status) == (type, "timed_out" if type == "timeout" else "failed")
    assert said in odd.error.detail
    assert [m.what for m in task.missing] == ["odd (capability 'oddity')", "after (capability 'research')"]
    assert (await neighbour).status == "completed"
    assert 1 <= len(peer.steps) <= 3
