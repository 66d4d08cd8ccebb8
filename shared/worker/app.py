"""From an Agent to a web service: `/execute` with replay, progress, limits and cancel; registration and health."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from fastapi import Request, Response
from pydantic import JsonValue
from pydantic_core import to_json
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from shared import logs
from shared.agent import Agent
from shared.background import Background
from shared.client import client as transport
from shared.contracts import MAX_METADATA_BYTES, Registration, StepError, StepRequest, StepResult
from shared.errors import EnvelopeRefused, Unavailable
from shared.limits.envelope import HEADER, Envelope, open_envelope
from shared.memory.recorder import Remembering
from shared.memory.store import Memory, MemoryLimits
from shared.protocols.a2a import mount as a2a
from shared.protocols.kaos import routes as kaos
from shared.protocols.mounting import Host, Mount, mount
from shared.protocols.openai import routes as openai
from shared.recording.tape import RECORD
from shared.server import bodies, sse
from shared.server.app import App, Quick, Stopping, make_service
from shared.server.hang_up import wait_for_hang_up
from shared.server.metrics import QUIET
from shared.server.openapi import also
from shared.settings import WorkerSettings
from shared.telemetry.spans import Telemetry
from shared.worker.chat import WorkerFace
from shared.worker.execution import Opened, Run
from shared.worker.heartbeat import Heartbeat
from shared.worker.identity import Identity
from shared.worker.own_canary import OwnCanary
from shared.worker.signed import Signed
from shared.worker.steps import PROGRESS_SECONDS, Steps, is_canary
from shared.worker.watchdog import Standing, watch_loop

MAX_STEP_BYTES = 32_000_000  # a step's body holds the outputs of the steps before it
WHOLE_SECONDS = 0.25  # a step that ends sooner is answered whole, without a stream
PING_SECONDS = 2.0
METADATA_SECONDS = 2.0
JOIN_SECONDS = 1.0  # a step may find a worker that was started again a moment before it has its key
UNSIGNED_MILLISECONDS = 300_000  # what a hand-written call without an envelope may take
FACADES: tuple[Mount, ...] = (openai.mount, kaos.mount, a2a.mount)


def create_worker_app(
    agent: Agent,
    *,
    settings: WorkerSettings | None = None,
    endpoint: str = "http://127.0.0.1:8080",
    asks: bool = False,
    state_dir: Path | None = None,
    inner: httpx.AsyncBaseTransport | None = None,
    now: Callable[[], float] = time.monotonic,
    standing: Standing | None = None,
    telemetry: Telemetry | None = None,
) -> App[Opened]:
    """A FastAPI app that serves `agent`, with its own files in `state_dir` (None: it keeps none).

    With `settings.coordinator_url` it registers there as `endpoint`, again every 2 s, and takes only steps whose
    envelope the coordinator signed for it; with a key, too, only such requests of any kind, but for health, metrics and
    cards. With `asks` it registers the address at which the coordinator says it reaches that port. Without a
    coordinator it works alone and takes unsigned steps.
    `inner` replaces the network in tests. `standing` is called, in a thread, once the event loop has stood still for
    `settings.watchdog_seconds`; None: nobody looks. `telemetry` takes its spans and figures.
    """
    settings = settings or WorkerSettings()
    limit = settings.max_concurrency or agent.max_concurrency
    memory = agent.memory or Memory(
        agent.name, state_dir, limits=MemoryLimits.from_settings(settings), enabled=settings.memory_enabled
    )
    steps = Steps(agent, limit=limit, now=now)
    app: App[Opened] = make_service(
        name=agent.name,
        version=agent.version,
        base=settings.base_path,
        ready=lambda _: agent.waits(),
        health=lambda: {"running_steps": steps.running, "max_concurrency": limit, "replayed_steps": steps.replayed},
        body_limit=MAX_STEP_BYTES,
        now=now,
        telemetry=telemetry,
        traces_requests=True,
    )

    async def open_worker(stack: AsyncExitStack) -> Opened:
        stack.push_async_callback(memory.close)
        http = await stack.enter_async_context(transport.make_client(policy="web", transport=inner))
        state = await stack.enter_async_context(agent.open())
        stack.push_async_callback(steps.close)
        watched = settings.watchdog_seconds > 0
        if watched and standing is not None:
            watching = watch_loop(settings.watchdog_seconds, steps.list_running, standing)
            await stack.enter_async_context(watching)
        if not settings.coordinator_url:
            if watched:
                background = await stack.enter_async_context(Background(app.fail))
                background.once("own-canary", _end_when_deaf(app, OwnCanary(app, steps, None, now=now)))
            return Opened(state, http)
        instance = f"{socket.gethostname()[:50]}-{urlsplit(endpoint).port or 80}"
        heartbeat = Heartbeat(
            client=await stack.enter_async_context(transport.make_client(policy="agents", transport=inner)),
            coordinator_url=settings.coordinator_url,
            registration=_make_registration(agent, endpoint, limit, await _collect_metadata(agent)),
            identity=await asyncio.to_thread(Identity, instance, state_dir),
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            asks=asks,
        )
        stack.push_async_callback(heartbeat.withdraw)
        background = await stack.enter_async_context(Background(app.fail))  # ends before the worker withdraws
        background.loop("heartbeat", heartbeat.run)
        if watched:
            background.once("own-canary", _end_when_deaf(app, OwnCanary(app, steps, heartbeat, now=now)))
        background.once("drain", _drain_with(app.stopping, heartbeat))
        return Opened(state, http, heartbeat)

    def check_envelope(request: Request, body: bytes, *, task: str, step: str, attempt: int) -> Envelope:
        heartbeat = app.get_opened().heartbeat
        header = request.headers.get(HEADER)
        if heartbeat is None:
            return Envelope(task=task, step=step, attempt=attempt, milliseconds=UNSIGNED_MILLISECONDS)
        if header is None or heartbeat.key is None:
            raise EnvelopeRefused(f"This worker only accepts steps signed by its coordinator ({HEADER}).")
        envelope = open_envelope(header, key=heartbeat.key, body=body)
        if (envelope.task, envelope.step) != (task, step):
            raise EnvelopeRefused("The envelope is for another step.")
        return envelope

    @app.post(
        "/execute",
        tags=["steps"],
        openapi_extra=bodies.describe(
            StepRequest,
            example={"task_id": "t1", "step_id": "s1", "attempt": 1, "task_description": "What is a lease?"},
        ),
        responses={200: {"model": StepResult} | also("text/event-stream")[200]},
    )
    async def execute(request: Request) -> Response:
        """Runs one step; the same Idempotency-Key gets the same result. Progress as SSE where Accept allows it."""
        body = await bodies.read(request, limit=MAX_STEP_BYTES)
        step = bodies.parse(StepRequest, body)
        if is_canary(step):
            request.scope[QUIET] = True
        opened = app.get_opened()
        if (heartbeat := opened.heartbeat) is not None and not await heartbeat.wait_until_joined(JOIN_SECONDS):
            raise Unavailable("This worker is not registered yet.", retry_after=1)
        key = heartbeat.key if heartbeat else None
        try:
            envelope = check_envelope(request, body, task=step.task_id, step=step.step_id, attempt=step.attempt)
        except EnvelopeRefused:
            if heartbeat is None or not await heartbeat.renew(key):
                raise
            envelope = check_envelope(request, body, task=step.task_id, step=step.step_id, attempt=step.attempt)
        if (kept := steps.replay(step)) is not None:
            return _render(kept)
        tape = None
        if RECORD.lower() in request.headers and not is_canary(step):
            from shared.recording.recorder import Recorder

            tape = Recorder(now=now)
        run = steps.join(step, opened=opened, envelope=envelope, tape=tape)
        return _Answer(steps, run, step, streams=sse.accepts(request.headers.get("accept")))

    @app.delete("/execute/{task_id}/{step_id}", tags=["steps"])
    async def cancel(request: Request, task_id: str, step_id: str, attempt: int = 1_000_000) -> dict[str, bool]:
        """Ends a running step; `cancelled` says whether it was running."""
        check_envelope(request, b"", task=task_id, step=step_id, attempt=attempt)
        return {"cancelled": steps.cancel((task_id, step_id), attempt)}

    app.router.routes.insert(0, Quick("POST", "/execute", execute))
    app.open_with(open_worker)
    if settings.coordinator_url and settings.api_key:
        signed = Middleware(
            Signed,
            heartbeat=lambda: app.get_opened().heartbeat,
            join_seconds=JOIN_SECONDS,
            body_limit=MAX_STEP_BYTES,
        )
        app.user_middleware.append(signed)  # the innermost: what it refuses is answered and logged like everything
    if agent.routes is not None:
        app.include_router(agent.routes(lambda: app.get_opened().state))
    face = WorkerFace(agent, steps, app.get_opened)
    host = Host(
        app=app,
        face=Remembering(face, memory),
        folder=state_dir,
        public_url=settings.public_url,
        memory=memory,
        features=agent.features,
    )
    mount(host, FACADES)
    return app


async def _collect_metadata(agent: Agent) -> dict[str, JsonValue]:
    """The agent's metadata; none if it takes too long, for example on a network share that does not answer."""
    try:
        async with asyncio.timeout(METADATA_SECONDS):
            metadata = await asyncio.to_thread(agent.metadata)
    except TimeoutError:
        return {}
    if len(to_json(metadata)) <= MAX_METADATA_BYTES:
        return metadata
    logs.get().warning("agent.metadata_dropped", why=f"More than {MAX_METADATA_BYTES} bytes are refused.")
    return {}


def _make_registration(agent: Agent, endpoint: str, limit: int, metadata: dict[str, JsonValue]) -> Registration:
    return Registration(
        name=agent.name,
        endpoint=endpoint,
        capabilities=list(agent.capabilities),
        description=agent.description,
        max_concurrency=limit,
        version=agent.version,
        metadata=metadata,
        canary=True,
        idempotent=agent.idempotent,
    )


async def _end_when_deaf(app: App[Opened], canary: OwnCanary) -> None:
    """Ends the service once it answers no steps, though its loop runs: a start heals what a wait does not."""
    why = await canary.watch()
    logs.get().error("worker.deaf", why=why)
    app.fail("own-canary")


async def _drain_with(stopping: Stopping, heartbeat: Heartbeat) -> None:
    await stopping.event.wait()
    await heartbeat.drain()


def _render(result: StepResult) -> Response:
    return Response(_write(result), media_type="application/json")


def _write(result: StepResult) -> str:
    text = result.model_dump_json()
    return text if result.recording is None else f'{text[:-1]},"recording":{to_json(result.recording).decode()}}}'


class _Answer(Response):
    """A step's answer: whole if it comes at once or no stream is wanted, else progress events and then the result.

    The caller's hanging up is noticed at any moment; the step ends with its last caller.
    """

    def __init__(self, steps: Steps, run: Run, step: StepRequest, *, streams: bool) -> None:
        super().__init__()
        self._steps, self._run, self._step, self._streams = steps, run, step, streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        run, self._run.watchers = self._run, self._run.watchers + 1
        assert run.task is not None
        gone = asyncio.create_task(wait_for_hang_up(receive))
        try:
            first_wait = WHOLE_SECONDS if self._streams else None
            await asyncio.wait({run.task, gone}, timeout=first_wait, return_when=asyncio.FIRST_COMPLETED)
            if run.task.done():
                await _render(self._get_result(run.task))(scope, receive, send)
            elif not gone.done():
                await self._stream(run, run.task, gone, send)
        finally:
            gone.cancel()
            self._steps.leave(run)

    async def _stream(self, run: Run, task: asyncio.Task[StepResult], gone: asyncio.Task[None], send: Send) -> None:
        headers = [(b"content-type", sse.MEDIA_TYPE.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while not task.done() and not gone.done():
            changed = asyncio.create_task(run.changed.wait())
            await asyncio.wait({task, gone, changed}, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if changed.cancel() and not task.done():
                await _send(send, sse.format_event("ping", "{}"))
            elif run.progress is not None and not task.done():
                run.changed.clear()
                await _send(send, sse.format_event("progress", run.progress.model_dump_json()))
                await asyncio.wait({task, gone}, timeout=PROGRESS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await _send(send, sse.format_event("result", _write(self._get_result(task))), last=True)

    def _get_result(self, task: asyncio.Task[StepResult]) -> StepResult:
        if task.cancelled():  # before it began
            error = StepError(type="cancelled", detail="The step was cancelled before it started.")
            step = self._step
            return StepResult(
                task_id=step.task_id, step_id=step.step_id, attempt=step.attempt, status="cancelled", error=error
            )
        return task.result().model_copy(update={"attempt": self._step.attempt})


async def _send(send: Send, body: bytes, *, last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not last})
