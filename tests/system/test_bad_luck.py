"""Agents that are down, slow, silent or lie: each costs its own step and nothing else, in time and with a name."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from coordinator.admission import admission
from coordinator.agent_calls import client as worker_client
from coordinator.agent_calls.attempt import Attempt
from coordinator.agent_calls.client import WorkerClient
from coordinator.agent_pool import pool as agents
from coordinator.agents import registry
from load.processes.ports import free_port
from shared.agent import Context, Reply
from shared.client import client as transport
from shared.contracts import Registration, StepRequest, Usage
from shared.errors import StepFailure, WorkerFault
from shared.limits.envelope import Envelope
from tests.support import fakes
from tests.support.fakes import (
    Behaviour,
    Held,
    Network,
    Request,
    Suite,
    agent,
    bad_peer,
    eventually,
    hangs,
    http_answer,
    says,
)
from tests.support.processes import Coordinator, Service

Writer = asyncio.StreamWriter
DEEP = b"[" * 100_000 + b"]" * 100_000
TASK_SECONDS, STEP_SECONDS = 60.0, 2.0  # what a task may take, and a step whose agent does not answer


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
    "closes without a word": (raw(), LOST, "connection was lost"),
    "resets": (resets, LOST, "connection was lost"),
    "is cut in the middle": (says(b'{"task_id', length=500), LOST, "connection was lost"),
    "speaks no HTTP": (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), LOST, "connection was lost"),
    "speaks bytes": (raw(b"\x00\xff\xfe\x80" * 50, b"\r\n\r\n"), LOST, "connection was lost"),
    "has bytes in its status line": (raw(b"HTTP/1.1 2\xff0 O\xffK\r\n\r\n"), LOST, "connection was lost"),
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
    "answers a list": (says(b"[]"), BAD, "not a JSON object"),
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
    "says that it failed": (results(status="failed", output=None), "agent_error", "without a reason"),
    "says that it was cancelled": (results(status="cancelled", output=None), LOST, "cancelled the step"),
    "streams and ends": (streams(b'event: progress\ndata: {"message": "soon"}\n\n'), LOST, "without a result"),
    "streams nothing": (streams(), LOST, "without a result"),
    "streams silence": (streams(b"event: ping\ndata: {}\n\n", then_hangs=True), LOST, "silent for"),
    "streams garbage": (streams(b"event: result\ndata: <html>\n\n"), BAD, "not JSON"),
    "streams odd progress": (streams(b'event: progress\ndata: {"message": 7}\n\n'), BAD, "progress event: message"),
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
async def test_misbehaving_agent_fails_its_step_in_time(
    suite: Suite, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that misbehaves fails its own step by name and in time."""
    behaviour, type, said = BEHAVIOURS[name]
    limited = {"timeout_seconds": STEP_SECONDS} if type == "timeout" else {}
    monkeypatch.setattr(worker_client, "SILENCE_SECONDS", 0.1)
    async with bad_peer(behaviour) as peer:
        await suite.register("rogue", peer.url, "oddity")
        await suite.sees(peer.host, "healthy")
        neighbour = asyncio.create_task(suite.execute("Why are there tides?"))
        began = time.monotonic()

        task = await suite.execute(
            "Do something odd",
            timeout_seconds=TASK_SECONDS,
            plan=[
                {"id": "odd", "capability": "oddity", **limited},
                {"id": "after", "capability": "research", "needs": ["odd"]},
                {"id": "beside", "capability": "research", "input": {"question": "What is beside?"}},
            ],
        )

    odd, after, beside = task.results
    assert time.monotonic() - began < 20
    assert (task.status, odd.agent, beside.status, after.status) == ("partial", "rogue", "completed", "skipped")
    assert odd.error is not None
    assert (odd.error.type, odd.status) == (type, "timed_out" if type == "timeout" else "failed")
    assert said in odd.error.detail
    assert [m.what for m in task.missing] == ["odd (capability 'oddity')", "after (capability 'research')"]
    assert (await neighbour).status == "completed"
    assert 1 <= len(peer.steps) <= 3


@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_every_way_to_an_agent_names_the_same_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past httpx's objects, through httpx over the same connections, and where respx stands in and lets it pass."""
    behaviour, type, said = BEHAVIOURS[name]
    monkeypatch.setattr(worker_client, "SILENCE_SECONDS", 0.1)
    with_httpx = Through(transport.make_client()._transport)

    past_httpx = await fault(transport.make_client(), behaviour)
    through_httpx = await fault(transport.make_client(transport=with_httpx), behaviour)
    with respx.mock(using="httpx") as web:
        web.route().pass_through()
        through_respx = await fault(transport.make_client(), behaviour)

    assert past_httpx == through_httpx == through_respx
    assert past_httpx[0] == type
    assert said in past_httpx[1]


@dataclass(frozen=True)
class Through(httpx.AsyncBaseTransport):
    """Some transport, of which nothing else is known."""

    inner: httpx.AsyncBaseTransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def fault(http: httpx.AsyncClient, behaviour: Behaviour) -> tuple[str, str, bool]:
    """Type and detail of the failure that a call to such an agent ends with, and whether the agent is to blame."""
    request = StepRequest(task_id="t", step_id="odd", attempt=1)
    async with bad_peer(behaviour) as peer, http:
        registration = Registration(name="odd", endpoint=peer.url, capabilities=["oddity"])
        client = WorkerClient(http, key_of=lambda _: b"key")
        attempt = Attempt(
            registry.Instance("odd", registration, 0, 0),
            request,
            Envelope(task="t", step="odd", attempt=1, milliseconds=300),
            seconds=0.3 if behaviour in (hangs, drips) else 5.0,
            on_progress=lambda _: None,
        )
        with pytest.raises(StepFailure) as caught:
            await client.execute(attempt)
    return caught.value.type, caught.value.detail, caught.value.blames_agent


async def test_own_pause_breaks_no_stream(coordinator: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pings that came meanwhile are read before anybody is called silent."""
    monkeypatch.setattr(worker_client, "SILENCE_SECONDS", 0.9)
    paused = asyncio.Event()

    async def pings(request: Request, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: ping\ndata: {}\n\n")
        await writer.drain()
        await paused.wait()
        writer.write(b"event: result\ndata: " + request.result(output="done") + b"\n\n")

    async with bad_peer(pings) as peer:
        await coordinator.register("slow", peer.url, "work")
        await coordinator.sees(peer.host, "healthy")
        task_id = await coordinator.begin(plan=[{"id": "s", "capability": "work"}])
        await eventually(lambda: peer.steps)
        await asyncio.sleep(0.1)

        time.sleep(1.2)  # noqa: ASYNC251  # the loop stands still
        paused.set()
        step = (await coordinator.ended(task_id)).results[0]

    assert (step.status, step.attempt) == ("completed", 1)


async def test_own_pause_is_no_silence_of_agents(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `docker pause` every lease had run out, and every step was cut off, before a single beat was read."""
    monkeypatch.setattr(agents, "LAPSE_SECONDS", 0.02)
    held = Held()
    async with Suite(network, agent("worker", "work", held)) as coordinator:
        [instance] = coordinator.services.agents.registry.list_all()
        task_id = await coordinator.begin(plan=[{"id": "s", "capability": "work"}])
        await eventually(lambda: held.began)
        monkeypatch.setattr(registry, "LEASE_SECONDS", 0.5)
        await coordinator.client.post("/register_agent", content=instance.registration.model_dump_json())

        time.sleep(0.8)  # noqa: ASYNC251  # the loop stands still
        await asyncio.sleep(0.05)
        assert instance.status == "healthy"
        await coordinator.client.post("/register_agent", content=instance.registration.model_dump_json())
        held.let_go.set()

        assert (await coordinator.ended(task_id)).results[0].attempt == 1


async def test_killed_agents_steps_run_once_it_returns(coordinator: Suite) -> None:
    """Its death is one failure, however many steps it took along: they waited for one trial's end, and were lost."""
    held, connections = Held(), list[Writer]()

    async def dies(request: Request, writer: Writer) -> None:
        connections.append(writer)
        if len(connections) == 6:
            for one in connections:
                one.transport.abort()
        if len(connections) <= 6:
            await asyncio.Event().wait()
        held.began.append(request.step())
        await held.let_go.wait()
        writer.write(http_answer(request.result(output="done")))

    async with bad_peer(dies) as peer:
        await coordinator.register("slow", peer.url, "work")
        await coordinator.sees(peer.host, "healthy")
        plan = [{"id": "s", "capability": "work"}]
        tasks = [await coordinator.begin(plan=plan) for _ in range(6)]

        await eventually(lambda: len(held.began) == 6)
        held.let_go.set()

        assert {(await coordinator.ended(id)).status for id in tasks} == {"completed"}


# --- agents that are not there --------------------------------------------------------------------


async def test_dead_endpoint_is_unreachable_and_slows_nobody(suite: Suite) -> None:
    """An endpoint nobody listens on is taken shown unreachable and slows nobody."""
    port = free_port()
    registered = await suite.register("ghost", f"http://127.0.0.1:{port}", "research")
    assert registered["status"] == "pending"
    ghost = await suite.sees(f"127.0.0.1:{port}", "unreachable")
    began = time.monotonic()

    tasks = await asyncio.gather(*(suite.execute(timeout_seconds=60) for _ in range(10)))

    assert time.monotonic() - began < 20
    assert "Connection refused" in str(ghost.last_error)
    assert {(s.agent, s.attempt) for t in tasks for s in t.results if s.capability == "research"} == {("researcher", 1)}


async def test_a_capability_nobody_ever_had_fails_at_once(suite: Suite) -> None:
    began = time.monotonic()

    task = await suite.execute(plan=[{"id": "paint", "capability": "paint"}], timeout_seconds=60)

    assert time.monotonic() - began < 20  # half of its time is waited for who was there once
    assert (task.status, task.results[0].error.type) == ("failed", "no_agent")
    assert task.missing[0].why == "No agent has ever registered for capability 'paint'."


async def test_absent_capability_is_awaited_half_the_time(coordinator: Suite) -> None:
    """A capability whose agents are away is waited for half of the time left."""
    port = free_port()
    await coordinator.register("away", f"http://127.0.0.1:{port}", "work")
    began = time.monotonic()

    task = await coordinator.execute(plan=[{"id": "s", "capability": "work"}], timeout_seconds=2)

    assert time.monotonic() - began > 0.8
    assert task.results[0].error.type == "no_agent"
    assert "Connection refused" in task.missing[0].why


async def test_returning_agent_gets_the_waiting_step(coordinator: Suite) -> None:
    """An agent that comes back while a step waits gets it."""
    port = free_port()
    await coordinator.register("late", f"http://127.0.0.1:{port}", "work")
    task_id = await coordinator.begin(plan=[{"id": "only", "capability": "work"}], timeout_seconds=10)

    await coordinator.add(agent("prompt", "work"))

    assert (await coordinator.ended(task_id)).results[0].agent == "prompt"


async def test_failed_first_call_moves_at_once(coordinator: Suite) -> None:
    """The first call to an agent that has gone is repeated at another at once."""
    for host in ("one", "two", "three"):
        await coordinator.add(agent("echo", "echo"), host=host)
    coordinator.network.unplug("one")
    coordinator.network.unplug("two")
    began = time.monotonic()

    tasks = await asyncio.gather(*(coordinator.execute(agents=["echo"], timeout_seconds=5) for _ in range(20)))

    assert {t.status for t in tasks} == {"completed"}
    assert time.monotonic() - began < 3
    assert all(s.attempt <= 3 for t in tasks for s in t.results)


# --- the rest of the task ---------------------------------------------------------------------------


async def test_lost_research_is_500_with_the_task(suite: Suite) -> None:
    """When all research is lost the caller gets 500 with the task in it."""

    async def fails(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404)

    suite.network.answer("researcher", fails)

    answer = await suite.ask("Why are there tides?", timeout_seconds=3)

    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert (problem["type"], problem["status"]) == ("urn:muster:problem:task_failed", 500)
    assert problem["task"]["status"] == "failed"
    assert [s["status"] for s in problem["task"]["results"]] == ["failed", "skipped", "skipped"]
    assert answer.headers["location"] == problem["task"]["links"]["self"]
    assert "HTTP 404" in problem["detail"]


async def test_nothing_ready_at_the_deadline_is_timed_out(suite: Suite) -> None:
    """When nothing at all was ready at the deadline the task timed out."""
    suite.network.delay("researcher", 60)
    began = time.monotonic()

    answer = await suite.ask(timeout_seconds=0.5)

    assert time.monotonic() - began < 20
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:muster:problem:task_timed_out")
    assert answer.json()["task"]["status"] == "timed_out"


async def test_deadline_answers_with_what_is_ready(suite: Suite) -> None:
    """What is ready at the deadline is the answer with a report and what is missing."""

    async def slow_for_neap(step: StepRequest, ctx: Context) -> Reply:
        if "neap" in step.input["question"]:
            await asyncio.sleep(60)
        return await fakes.researches(step, ctx)

    await suite.remove("researcher")
    await suite.add(agent("slow", "research", slow_for_neap))

    task = await suite.execute("Why are there tides?\nWhat is a neap tide?", timeout_seconds=1.5)

    assert task.status == "partial"
    assert {s.step_id: s.status for s in task.results} == {
        "research-1": "completed",
        "research-2": "timed_out",
        "analyze": "completed",
        "report": "completed",
    }
    assert [m.what for m in task.missing] == ["research-2 (capability 'research')"]
    assert fakes.MOON in task.result.report
    assert "research-2" in task.result.report


@pytest.mark.parametrize(("lost", "step"), [("analyzer", "analyze"), ("reporter", "report")])
async def test_coordinator_renders_without_analysis_or_reporter(suite: Suite, lost: str, step: str) -> None:
    """Without analysis or reporter the coordinator renders a report itself."""
    suite.network.delay(lost, 60)

    task = await suite.execute(timeout_seconds=2)

    assert task.status == "partial"
    assert fakes.MOON in task.result.report
    assert task.result.sources[0]["location"] == "tides.md"
    assert f"{step} (capability '{step}')" in [m.what for m in task.missing]


async def test_optional_step_may_fail(suite: Suite) -> None:
    """A failed step that may fail leaves those that need it running."""
    plan = [
        {"id": "paint", "capability": "paint", "on_failure": "continue"},
        {"id": "frame", "capability": "paint"},
        {"id": "show", "agent": "researcher", "needs": ["paint"], "input": {"question": "?"}},
        {"id": "sell", "agent": "researcher", "needs": ["frame"], "input": {"question": "?"}},
    ]

    task = await suite.execute(plan=plan)

    assert [s.status for s in task.results] == ["failed", "failed", "completed", "skipped"]
    assert task.results[3].error.detail == "It needs 'frame', which failed."


# --- cancel -----------------------------------------------------------------------------------------


async def test_cancel_stops_every_running_child(coordinator: Suite) -> None:
    held = Held()
    for name in ("one", "two", "three"):
        await coordinator.add(agent(name, "wait", held))
    task_id = await coordinator.begin(agents=["one", "two", "three"], timeout_seconds=120)
    await eventually(lambda: len(held.began) == 3)
    began = time.monotonic()

    answer = await coordinator.client.post(f"/tasks/{task_id}/cancel")
    task = await coordinator.ended(task_id)

    assert (answer.status_code, task.status) == (202, "cancelled")
    assert {s.status for s in task.results} == {"cancelled"}
    await eventually(lambda: len(held.cancelled) == 3)
    assert time.monotonic() - began < 20


async def test_cancel_reaches_the_agent_late_answers_nothing(
    coordinator: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancel reaches the agent and an answer after it changes nothing."""
    monkeypatch.setattr(worker_client, "CANCEL_SECONDS", 4.0)
    answers = asyncio.Event()

    async def behaviour(request: Request, writer: Writer) -> None:
        await answers.wait()
        writer.write(http_answer(request.result(output="too late")))

    async with bad_peer(behaviour) as peer:
        await coordinator.register("stubborn", peer.url, "work")
        await coordinator.sees(peer.host, "healthy")
        task_id = await coordinator.begin(plan=[{"id": "only", "capability": "work"}])
        await eventually(lambda: peer.steps)

        await coordinator.client.post(f"/tasks/{task_id}/cancel")
        await coordinator.ended(task_id)
        answers.set()
        await eventually(lambda: peer.cancels)

    assert peer.cancels == [f"/execute/{task_id}/only?attempt=1"]
    task = await coordinator.task(task_id)
    assert (task.status, task.results[0].status, task.results[0].output) == ("cancelled", "cancelled", None)
    again = await coordinator.client.post(f"/tasks/{task_id}/cancel")
    assert (again.status_code, again.json()["status"]) == (202, "cancelled")


async def test_step_out_of_time_is_canceled(coordinator: Suite) -> None:
    """A step out of time is cancelled at its agent."""
    async with bad_peer(hangs) as peer:
        await coordinator.register("slow", peer.url, "work")
        await coordinator.sees(peer.host, "healthy")

        task = await coordinator.execute(plan=[{"id": "s", "capability": "work", "timeout_seconds": 0.2}])

        await eventually(lambda: peer.cancels)
    assert (task.status, task.results[0].status) == ("timed_out", "timed_out")
    assert peer.cancels == [f"/execute/{task.task_id}/s?attempt=1"]


async def test_what_has_ended_cannot_be_cancelled(suite: Suite) -> None:
    task = await suite.execute()

    answer = await suite.client.post(f"/tasks/{task.task_id}/cancel")

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:muster:problem:conflict")


# --- breaker, draining, budgets, overload -----------------------------------------------------------


async def test_agent_failing_five_times_gets_one_trial(coordinator: Suite) -> None:
    """An agent that fails five times is left alone and tried again with one call."""
    held = Held()

    async def answers(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500)

    await coordinator.add(agent("moody", "work", held))
    coordinator.network.answer("moody", answers)
    while (await coordinator.agents())["moody"].breaker == "closed":
        await coordinator.execute(plan=[{"id": "s", "capability": "work"}], max_calls=1)
    assert len(coordinator.network.calls("moody")) == 5

    coordinator.network.plug("moody")
    plan = [{"id": "s", "capability": "work"}]
    tasks = [await coordinator.begin(plan=plan, timeout_seconds=20) for _ in range(3)]
    await eventually(lambda: held.began)
    assert (await coordinator.agents())["moody"].breaker == "half_open"
    await asyncio.sleep(0.1)
    assert len(held.began) == 1
    held.let_go.set()

    assert {(await coordinator.ended(t)).status for t in tasks} == {"completed"}
    assert (await coordinator.agents())["moody"].breaker == "closed"


async def test_hanging_agent_opens_its_breaker(coordinator: Suite) -> None:
    """An agent that hangs until the deadline opens its breaker."""
    async with bad_peer(hangs) as peer:
        await coordinator.register("hung", peer.url, "work")
        await coordinator.sees(peer.host, "healthy")
        plan = [{"id": "s", "capability": "work", "timeout_seconds": STEP_SECONDS}]

        await asyncio.gather(*(coordinator.execute(plan=plan) for _ in range(8)))  # five are enough

        assert (await coordinator.agents())[peer.host].breaker != "closed"


async def test_failures_of_the_task_open_no_breaker(coordinator: Suite) -> None:
    """An agent that fails for a reason of the task is not left alone."""

    async def refuses(step: StepRequest, ctx: Context) -> Reply:
        raise WorkerFault("This is no question.", type="bad_input")

    await coordinator.add(agent("picky", "work", refuses))

    tasks = [await coordinator.execute(plan=[{"id": "s", "capability": "work"}]) for _ in range(6)]

    assert {(t.results[0].error.type, t.results[0].attempt) for t in tasks} == {("bad_input", 1)}
    assert (await coordinator.agents())["picky"].breaker == "closed"


async def test_draining_agent_finishes_gets_nothing_new(coordinator: Suite) -> None:
    """A draining agent finishes what it has and gets nothing new."""
    held = Held()
    app = await coordinator.add(agent("old", "work", held))
    task_id = await coordinator.begin(plan=[{"id": "s", "capability": "work"}])
    await eventually(lambda: held.began)

    app.stopping.begin()
    await coordinator.sees("old", "draining")
    await coordinator.add(agent("new", "work"))
    others = [await coordinator.execute(plan=[{"id": "s", "capability": "work"}]) for _ in range(5)]
    held.let_go.set()

    assert {t.results[0].agent for t in others} == {"new"}
    assert (await coordinator.ended(task_id)).results[0].agent == "old"


async def test_no_more_calls_are_made_than_the_caller_allows(suite: Suite) -> None:
    task = await suite.execute(max_calls=2)

    assert task.status == "partial"
    assert task.results[2].error.type == "limit_reached"
    assert fakes.MOON in task.result.report
    assert task.usage.calls == 2


async def test_retries_count_as_calls(coordinator: Suite) -> None:
    async def answers(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500)

    await coordinator.add(agent("broken", "work"))
    coordinator.network.answer("broken", answers)

    task = await coordinator.execute(plan=[{"id": "s", "capability": "work"}], max_calls=2)

    assert len(coordinator.network.calls("broken")) == 2
    assert task.usage.calls == 2


async def test_reported_spending_ends_the_budget(coordinator: Suite) -> None:
    """What an agent reports as spent counts and ends the budget."""

    async def spends(step: StepRequest, ctx: Context) -> Reply:
        return Reply("said", usage=Usage(calls=4, input_tokens=90, output_tokens=20))

    await coordinator.add(agent("spender", "work", spends))
    plan = [{"id": "a", "capability": "work"}, {"id": "b", "capability": "work", "needs": ["a"]}]

    by_tokens = await coordinator.execute(plan=plan, max_tokens=100)
    by_calls = await coordinator.execute(plan=plan, max_calls=5)

    assert [s.status for s in by_tokens.results] == [s.status for s in by_calls.results] == ["completed", "failed"]
    assert by_tokens.results[1].error.detail == "The task has used all 100 of its tokens."
    assert by_calls.results[1].error.detail == "The task has used all 5 of its calls."


async def test_too_much_context_is_429_until_tasks_end(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start takes up all open tasks: more than memory holds would end every start."""
    monkeypatch.setattr(admission, "MAX_WEIGHT", 100_000)
    held, small, many = Held(), "x" * 40_000, [[]] * 900  # as lists, these take 20 times their JSON
    async with Suite(network, agent("slow", "slow", held)) as suite:
        begun = [await suite.begin(agents=["slow"], context=context) for context in (small, many)]
        refused = await suite.ask(agents=["slow"], context=small)

        assert (refused.status_code, "MB of context" in refused.text) == (429, True)
        assert int(refused.headers["retry-after"]) >= 1

        begun.append(await suite.begin(agents=["slow"]))
        held.let_go.set()
        assert {(await suite.ended(task)).status for task in begun} == {"completed"}
        assert (await suite.execute(agents=["slow"], context=small)).status == "completed"


async def test_full_queue_is_429_with_retry_after(network: Network) -> None:
    """More tasks than may wait get 429 with Retry-After."""
    held = Held()
    async with Suite(network, agent("slow", "work", held), max_concurrent_tasks=2, max_queued_tasks=3) as suite:
        plan = [{"id": "s", "capability": "work"}]

        answers = await asyncio.gather(*(suite.ask(plan=plan, headers={"Prefer": "respond-async"}) for _ in range(12)))

        accepted = [a.json()["task_id"] for a in answers if a.status_code == 202]
        refused = [a for a in answers if a.status_code == 429]
        held.let_go.set()
        assert {(await suite.ended(t)).status for t in accepted} == {"completed"}
    assert (len(accepted), len(refused)) == (5, 7)
    assert {a.json()["type"] for a in refused} == {"urn:muster:problem:overloaded"}
    assert all(int(a.headers["retry-after"]) >= 1 for a in refused)


async def test_higher_priority_starts_first_then_in_order(network: Network) -> None:
    """Higher priority starts first and within one first come first served."""
    held = Held()
    async with Suite(network, agent("slow", "work", held), max_concurrent_tasks=1) as suite:
        plan = [{"id": "s", "capability": "work"}]
        for priority, name in ((5, "first"), (1, "low"), (5, "middle"), (9, "high"), (5, "middle, later")):
            last = await suite.begin(name, plan=plan, priority=priority)
        await eventually(lambda: held.began)
        held.let_go.set()
        await eventually(lambda: len(held.began) == 5)
        await suite.ended(last)

    assert [s.task_description for s in held.began] == ["first", "high", "middle", "middle, later", "low"]


async def test_task_that_only_waited_says_so(network: Network) -> None:
    """A task that waited for its place until its end says so."""
    async with Suite(network, agent("slow", "work", Held()), max_concurrent_tasks=1) as suite:
        plan = [{"id": "s", "capability": "work"}]
        await suite.begin(plan=plan)

        task = await suite.execute(plan=plan, timeout_seconds=0.3)

    assert task.status == "timed_out"
    assert task.missing[0].why == "The task timed out while queued."


async def test_waiting_caller_gets_503_and_location(suite: Suite) -> None:
    """A caller that waits at shutdown gets 503 with the place to ask later."""
    suite.network.delay("researcher", 60)
    waiting = asyncio.create_task(suite.ask())
    await eventually(lambda: suite.network.calls("researcher"))

    suite.app.stopping.begin()
    answer = await waiting

    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    task_id = answer.headers["location"].removeprefix("/tasks/")
    assert (await suite.task(task_id)).status == "running"
    assert int(answer.headers["retry-after"]) >= 1
    refused = await suite.ask()
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:muster:problem:unavailable")
    assert (await suite.client.get("/ready")).status_code == 503


# --- real processes ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def started(folder: Path, *, workers: int) -> AsyncIterator[tuple[httpx.AsyncClient, list[Service]]]:
    """A coordinator and so many slow workers, as processes, registered and well."""
    (folder / "slow.py").write_text(SLOW_WORKER)
    with contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(Coordinator(folder / "coordinator").start())
        agents = []
        for number in range(workers):
            env = {"COORDINATOR_URL": coordinator.url, "MARKS": str(folder)}
            agents.append(stack.enter_context(Service(str(folder / "slow.py"), folder / f"slow-{number}", env=env)))
            agents[-1].start()
        async with httpx.AsyncClient(base_url=coordinator.url, timeout=30) as client:
            await all_well(client, workers=workers)
            yield client, agents


async def all_well(client: httpx.AsyncClient, *, workers: int) -> None:
    """Waits until so many workers are healthy and none is not."""
    got = ""

    async def seen() -> bool:
        nonlocal got
        try:
            answer = await client.get("/agents")
        except httpx.TransportError as exc:
            got = repr(exc)
            return False
        got = f"{answer.status_code} {answer.text}"
        return answer.is_success and [a["status"] for a in answer.json()["agents"]] == ["healthy"] * workers

    await eventually(seen, seconds=40, why=lambda: f"Not {workers} healthy workers at {client.base_url}: {got}")


SLOW_WORKER = """
import asyncio, os, pathlib
from shared.agent import Agent, Reply
from shared.worker.main import serve_worker

OWN = pathlib.Path.cwd().name
MARKS = pathlib.Path(os.environ["MARKS"])

async def run(step, ctx):
    with open(MARKS / "began", "a") as file:
        file.write(f"{OWN}\\n")
    while not (MARKS / "go").exists():
        await asyncio.sleep(0.02)
    return Reply(OWN)

serve_worker(lambda state_dir: Agent(name="slow", description="Waits.", capabilities=("wait",), run=run))
"""


async def test_step_of_a_killed_worker_moves_twice(tmp_path: Path) -> None:
    """The step of a killed worker goes to another and back when that one is killed too."""
    async with started(tmp_path, workers=2) as (client, workers):

        async def began(number: int) -> Service:
            """The worker that began the step as the `number`th."""
            file = tmp_path / "began"
            lines = await eventually(lambda: file.exists() and file.read_text().splitlines()[number - 1 :], seconds=15)
            return next(w for w in workers if w.folder.name == lines[0])

        asked = asyncio.create_task(client.post("/execute_task", json=WAIT))
        first = await began(1)
        first.kill()
        second = await began(2)
        first.start()
        await all_well(client, workers=2)
        second.kill()
        (tmp_path / "go").touch()
        task = (await asked).json()

    (step,) = task["results"]
    assert (task["status"], step["attempt"], step["output"]) == ("completed", 3, first.folder.name)
    assert second is not first


WAIT = {"task_description": "Wait", "plan": [{"id": "s", "capability": "wait"}], "timeout_seconds": 30}
