"""Stand-ins: a network of apps, agents in a few words, peers that misbehave, real servers and real processes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from coordinator.access.claims import operator_proof
from coordinator.app import create_app
from shared.agent import Agent, Context, Reply, RunStep
from shared.client import client as transport
from shared.contracts import SECRET, AgentView, StepRequest, StepResult, TaskView
from shared.documents.settings import UploadSettings
from shared.server.app import App
from shared.settings import CoordinatorSettings, WorkerSettings
from shared.worker.app import create_worker_app

ROOT = Path(__file__).parents[2]
Answering = Callable[[httpx.Request], Awaitable[httpx.Response]]
Behaviour = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


async def eventually(true: Callable[[], Any], *, seconds: float = 20.0, why: str | Callable[[], str] = "") -> Any:
    """Waits until `true()` (or what it awaits) is truthy and returns that; fails after `seconds`, saying `why`."""
    until = time.monotonic() + seconds
    while True:
        found = true()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < until, (why() if callable(why) else why) or f"not within {seconds} s"
        await asyncio.sleep(0.01)


# --- a network in this process --------------------------------------------------------------------


class Network(httpx.AsyncBaseTransport):
    """Maps host names to apps, and breaks on demand.

    Streams arrive whole, because httpx's ASGITransport collects them: tests of streams use `serving`.
    `sent` is every request that was sent, also to hosts that are not there. 127.0.0.1 is the real one.
    """

    def __init__(self) -> None:
        self._real = transport.make_client(seconds=3_600)
        self._hosts: dict[str, httpx.ASGITransport] = {}
        self._unplugged: set[str] = set()
        self._delays: dict[str, float] = {}
        self._answers: dict[str, Answering] = {}
        self.sent: list[httpx.Request] = []

    def host(self, name: str, app: FastAPI) -> None:
        """From now on `http://name` is this app, whose lifespan the caller enters."""
        self._hosts[name] = httpx.ASGITransport(app, raise_app_exceptions=False)

    def unplug(self, name: str) -> None:
        """Connections to `name` are refused from now on."""
        self._unplugged.add(name)

    def plug(self, name: str) -> None:
        """Everything about `name` is well again."""
        self._unplugged.discard(name)
        self._delays.pop(name, None)
        self._answers.pop(name, None)

    def delay(self, name: str, seconds: float) -> None:
        """Steps for `name` arrive so much later."""
        self._delays[name] = seconds

    def answer(self, name: str, answering: Answering) -> None:
        """Steps for `name` are answered by this function; its /health answers well."""
        self._answers[name] = answering

    def calls(self, name: str, path: str = "/execute") -> list[httpx.Request]:
        """What was sent to a host at a path and below it."""
        return [r for r in self.sent if r.url.host == name and r.url.path.startswith(path)]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host
        self.sent.append(request)
        is_step = request.url.path.startswith("/execute") and request.method == "POST"
        if is_step:
            await asyncio.sleep(self._delays.get(name, 0))
        if name in self._unplugged:
            raise httpx.ConnectError(f"Cannot connect to {name}: Connection refused", request=request)
        if name in self._answers:
            return await self._answers[name](request) if is_step else httpx.Response(200, json={"status": "healthy"})
        if name == "127.0.0.1":
            return await self._real._transport.handle_async_request(request)
        if name not in self._hosts:
            raise httpx.ConnectError(f"Cannot connect to {name}: Name or service not known", request=request)
        return await self._hosts[name].handle_async_request(request)

    async def hang_up(self) -> None:
        """Closes the real connections; each client's `aclose` leaves them to the others."""
        await self._real.aclose()


# Marks a test that runs twice: with a journal in a file, and in PostgreSQL.
FILE_AND_SERVER = pytest.mark.parametrize("journal_url", ["file", "postgres"], indirect=True)

# --- agents in a few words ------------------------------------------------------------------------


def agent(name: str, capability: str, run: RunStep | None = None, **more: Any) -> Agent:
    """An agent that echoes what it was asked, or does what `run` does."""

    async def echo(step: StepRequest, ctx: Context) -> Reply:
        return Reply({"by": name, "input": step.input, "upstream": sorted(step.upstream)})

    return Agent(name=name, description=f"Does {capability}.", capabilities=(capability,), run=run or echo, **more)


MOON = "There are tides because the moon pulls the sea."
PASSAGE = {
    "id": "tides#1",
    "title": "Tides",
    "location": "tides.md",
    "provider": "fake",
    "score": 0.9,
    "excerpt": MOON,
    "text": MOON,
}


async def researches(step: StepRequest, ctx: Context) -> Reply:
    """One passage for every question."""
    question = step.input["question"] if isinstance(step.input, dict) else step.task_description
    await ctx.progress("Looking", 0.5)
    passage = PASSAGE | {"question": question}
    return Reply({"question": question, "provider": "fake", "searched": "one page", "evidence": [passage]})


async def analyses(step: StepRequest, ctx: Context) -> Reply:
    """One finding for every passage."""
    passages = [e for output in step.upstream.values() for e in output["evidence"]]
    finding = {"id": "f1", "statement": MOON, "topic": "Tides", "support": "moderate"}
    findings = [finding | {"evidence": [e["id"]], "question": e["question"]} for e in passages]
    return Reply({"question": step.task_description, "findings": findings, "sources": passages[:1]})


async def reports(step: StepRequest, ctx: Context) -> Reply:
    """The built-in reporter's work."""
    from workers import reporter

    return await reporter.run(step, ctx)


RESEARCHER = agent("researcher", "research", researches)
ANALYZER = agent("analyzer", "analyze", analyses)
REPORTER = agent("reporter", "report", reports)


@dataclass
class Held:
    """A `run` that waits until it is let go; it knows what came in and what was cancelled."""

    output: Any = "done"
    began: list[StepRequest] = field(default_factory=list)
    cancelled: list[StepRequest] = field(default_factory=list)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, step: StepRequest, ctx: Context) -> Reply:
        self.began.append(step)
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(step)
            raise
        return Reply(self.output)


def coordinator_settings(**changes: Any) -> CoordinatorSettings:
    """Settings that no stray `.env` has a say in; the journal is in memory."""
    return CoordinatorSettings(_env_file=None, **{"database_url": "memory:"} | changes)


def uploading(folder: Path, **limits: Any) -> dict[str, UploadSettings]:
    """For `Suite(app=…)`: documents go into this folder."""
    return {"uploads": UploadSettings(_env_file=None, uploads_dir=folder, **limits)}


def worker_settings(**changes: Any) -> WorkerSettings:
    return WorkerSettings(_env_file=None, **changes)


def host_worker(network: Network, one: Agent, *, host: str | None = None, **settings: Any) -> FastAPI:
    """A worker at `http://host` (its name, if not said) that registers with `http://coordinator` once it starts."""
    host = host or one.name
    app = create_worker_app(
        one,
        settings=worker_settings(coordinator_url="http://coordinator", **settings),
        endpoint=f"http://{host}",
        inner=network,
    )
    network.host(host, app)
    return app


class Suite:
    """A coordinator and its workers in one process, over a `Network`; `client` speaks to the coordinator."""

    def __init__(self, network: Network | None = None, *agents: Agent, app: Any = None, **settings: Any) -> None:
        self.network = network or Network()
        self.settings = coordinator_settings(**settings)
        self._agents = agents
        self._more = app or {}
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(self.network.hang_up)
        self.app = create_app(self.settings, inner=self.network, **self._more)
        await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        self.network.host("coordinator", self.app)
        self.client = await self._stack.enter_async_context(
            httpx.AsyncClient(
                base_url="http://coordinator",
                transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
                headers={"Authorization": f"Bearer {key.get_secret_value()}"}
                if (key := self.settings.api_key)
                else None,
                timeout=None,
            )
        )
        self.services = self.app.get_opened()
        for one in self._agents:
            await self.start(one)
        for one in self._agents:
            await self.sees(one.name, "healthy")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def add(self, one: Agent, *, host: str | None = None, **settings: Any) -> FastAPI:
        """Starts a worker at `http://host` (its name, if not said) and waits until the coordinator sees it healthy."""
        app = await self.start(one, host=host, **settings)
        await self.sees(host or one.name, "healthy")
        return app

    async def start(self, one: Agent, *, host: str | None = None, **settings: Any) -> FastAPI:
        """Starts a worker; it will have registered a moment later."""
        app = host_worker(
            self.network, one, host=host, api_key=self.settings.worker_key or self.settings.api_key, **settings
        )
        await self._stack.enter_async_context(app.router.lifespan_context(app))
        return app

    async def register(self, name: str, endpoint: str, *capabilities: str, **more: Any) -> dict[str, Any]:
        """Registers an agent as a hand-written call does: without an instance, so alive as long as probes say so."""
        body = {"name": name, "endpoint": endpoint, "capabilities": list(capabilities), **more}
        answer = await self.client.post("/register_agent", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def remove(self, host: str) -> httpx.Response:
        """Withdraws the agent at `host`, as who runs the suite may."""
        agent_id = (await self.agents())[host].agent_id
        proof = operator_proof(self.services.secret, agent_id)
        return await self.client.delete(f"/agents/{agent_id}", headers={SECRET: proof})

    async def agents(self) -> dict[str, AgentView]:
        """Every instance by its host name, or host and port."""
        found = (await self.client.get("/agents")).json()["agents"]
        return {a["endpoint"].partition("//")[2]: AgentView.model_validate(a) for a in found}

    async def sees(self, host: str, status: str, *, seconds: float = 20.0) -> AgentView:
        """Waits until the agent at `host` has this status in the eyes of the coordinator."""

        def seen() -> bool:
            known = self.services.agents.registry.list_all()
            return any(i.status == status for i in known if i.registration.endpoint.partition("//")[2] == host)

        await eventually(seen, seconds=seconds, why=f"{host} did not become {status}")
        return (await self.agents())[host]

    async def ask(self, description: str = "Why are there tides?", *, headers: Any = None, **fields: Any) -> Any:
        """POST /execute_task; the answer as it is."""
        body = {"task_description": description, **fields}
        return await self.client.post("/execute_task", json=body, headers=headers)

    async def execute(self, description: str = "Why are there tides?", **fields: Any) -> TaskView:
        """Runs a task and returns its view, however it ended."""
        answer = await self.ask(description, **fields)
        body = answer.json()
        assert answer.status_code in (200, 500), body
        assert ("task" in body) == (answer.status_code == 500), body
        return TaskView.model_validate(body.get("task", body))

    async def begin(self, description: str = "Why are there tides?", *, headers: Any = None, **fields: Any) -> str:
        """Starts a task without waiting for it; its id."""
        answer = await self.ask(description, headers={"Prefer": "respond-async", **(headers or {})}, **fields)
        assert answer.status_code == 202, answer.text
        return answer.json()["task_id"]

    async def task(self, task_id: str) -> TaskView:
        return TaskView.model_validate((await self.client.get(f"/tasks/{task_id}")).json())

    async def ended(self, task_id: str, *, seconds: float = 40.0) -> TaskView:
        """Waits for the end of a task."""

        async def seen() -> TaskView | None:
            task = await self.task(task_id)
            return task if task.status not in ("queued", "running") else None

        return await eventually(seen, seconds=seconds, why="the task did not end")


# --- real sockets ---------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: FastAPI, *, lifespan: bool = True, port: int = 0, http: Any = "auto") -> AsyncIterator[str]:
    """The app behind a real port (0: a free one), in this loop; the URL. At the end its streams are told to stop."""
    # asyncio switches TCP_NODELAY on only where the protocol is named: else every answer takes 40 ms
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="on" if lifespan else "off",
            log_config=None,
            timeout_graceful_shutdown=2,
            ws="none",
            http=http,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        await eventually(lambda: server.started or task.done())
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        if isinstance(app, App):
            app.stopping.begin()
        server.should_exit = True
        await task
        sock.close()


@dataclass(frozen=True)
class Request:
    """What a bad peer was asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def step(self) -> StepRequest:
        return StepRequest.model_validate_json(self.body)

    def result(self, **changes: Any) -> bytes:
        """The right answer to this step, with changes."""
        step = self.step()
        right = {"task_id": step.task_id, "step_id": step.step_id, "attempt": step.attempt, "status": "completed"}
        return StepResult.model_validate(right | {"output": "fine"} | changes).model_dump_json().encode()


@dataclass
class BadPeer:
    """A server that answers /health well and treats steps as its behaviour says; `steps` and `cancels` is what came."""

    url: str = ""
    steps: list[StepRequest] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.partition("//")[2]


@contextlib.asynccontextmanager
async def bad_peer(behaviour: Behaviour) -> AsyncIterator[BadPeer]:
    """A raw socket server: each step is handed to `behaviour`, which writes what it likes; then it hangs up."""
    peer = BadPeer()
    connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            request = await _read(reader)
            if request.method == "POST":
                peer.steps += [request.step()] if request.path == "/execute" else []
                await behaviour(request, writer)
            else:
                if request.method == "DELETE":
                    peer.cancels.append(request.path)
                writer.write(http_answer(b"{}", more="connection: close\r\n"))  # else a step may meet the hang-up
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()
        del connections[asyncio.current_task()]  # type: ignore[arg-type]

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[asyncio.create_task(served(reader, writer))] = writer

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    peer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield peer
    finally:
        await asyncio.sleep(0.02)  # a cancel is on its way: asyncio leaves open what it accepts while it closes
        server.close()
        left = dict(connections)
        for task, writer in left.items():
            task.cancel()
            writer.transport.abort()  # also of one whose task had not begun
        await asyncio.gather(*left, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def http_answer(
    body: bytes, *, status: str = "200 OK", type: str = "application/json", more: str = "", length: int | None = None
) -> bytes:
    """An HTTP/1.1 answer as bytes."""
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\ncontent-type: {type}\r\n{more}content-length: {size}\r\n\r\n".encode() + body


def says(body: bytes, **more: Any) -> Behaviour:
    """A behaviour: this answer."""

    async def behaviour(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(body, **more))

    return behaviour


async def hangs(request: Request, writer: asyncio.StreamWriter) -> None:
    """A behaviour: no answer, ever."""
    await asyncio.Event().wait()
