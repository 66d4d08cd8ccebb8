"""The only file that speaks to an agent: signs, sends, reads within a deadline, and names what went wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import ValidationError
from pydantic_core import to_json

from coordinator.agent_calls.attempt import Attempt, StepAnswer
from coordinator.agent_calls.foreign_client import ForeignClient
from coordinator.agent_calls.via import pseudonym
from coordinator.agents.instance import Instance
from shared.client import client as transport
from shared.client.client import Whole
from shared.client.patience import wait_awake
from shared.contracts import MAX_RESULT_BYTES, Missing, Progress, StepRequest, StepResult
from shared.errors import (
    AgentFailed,
    AgentLost,
    AgentReplaced,
    BadResponse,
    CallNotSent,
    StepFailure,
    StepTimeout,
    is_error_type,
    truncate_detail,
)
from shared.failpoints import At, nowhere
from shared.http_failures import failure_from_answer, failure_from_error, preview
from shared.limits.envelope import HEADER, Envelope, seal
from shared.recording.tape import RECORD
from shared.server import sse
from shared.strict_json import strict_json

PROBE_SECONDS = 2.0
CANCEL_SECONDS = 1.0
LARGE_BYTES = 262_144  # are parsed in a thread: parsing 8 MB on the loop delayed everything else by 0.2 s
MOST_PROGRESS = 65_536  # characters of one event; what is longer is not passed on: each is a row in the journal
MOST_MISSING = 100  # things that one step can lack
SMALL_BYTES = 65_536  # of an answer whose status is all that counts
SILENCE_SECONDS = 6.0  # three pings missed in a row: the agent counts as lost


class WorkerClient:
    """Calls to agents; every failure is a `StepFailure` that says whether the agent may have started."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        key_of: Callable[[str], bytes],
        at: At = nowhere,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._key_of = key_of
        self._at = at
        self._now = now
        self._probe_headers = {"Accept": "*/*", "Via": f"1.1 {pseudonym(key_of)}"}  # the gateway is no agent
        self._foreign = ForeignClient(http, at=at, now=now)

    async def execute(self, attempt: Attempt) -> StepAnswer:
        """Makes one attempt; raises a `StepFailure` for everything but a completed step."""
        send = self._send if attempt.instance.registration.protocol == "muster" else self._foreign.send
        self._at("send.execute.before")
        try:
            answer = await send(attempt)
        except httpx.TransportError as exc:
            raise failure_from_error(exc, attempt.seconds) from exc
        except StepFailure:
            raise
        except SSEError as exc:
            raise BadResponse(f"Cannot read the agent's stream: {exc}.") from exc
        except Exception as exc:  # an answer that breaks a parser costs its step, never the task
            raise BadResponse(f"Cannot read the agent's response: {type(exc).__name__}: {exc}") from exc
        self._at("send.execute.answered")
        return answer

    async def _send(self, attempt: Attempt) -> StepAnswer:
        instance, request = attempt.instance, attempt.request
        body = _write_body(request, attempt.context)
        headers = {
            "Content-Type": "application/json",
            "Accept": f"{sse.MEDIA_TYPE}, application/json",
            "Idempotency-Key": f"{request.task_id}/{request.step_id}",
            HEADER: seal(attempt.envelope, key=self._key_of(instance.id), body=body),
        }
        if attempt.traceparent:
            headers["traceparent"] = attempt.traceparent
        if attempt.record:
            headers[RECORD] = "1"
        answer = await transport.fetch(
            self._http,
            "POST",
            f"{instance.registration.endpoint}/execute",
            headers,
            body,
            seconds=attempt.seconds,
            max_bytes=MAX_RESULT_BYTES,
            streams=sse.MEDIA_TYPE,
        )
        self._at("send.execute.sent")
        first_byte_at = self._now()
        if isinstance(answer, Whole):
            _find_replaced(instance, answer)
        result = await (_read_whole(answer, attempt) if isinstance(answer, Whole) else _read_stream(answer, attempt))
        return StepAnswer(check(result, request), first_byte_at)

    async def cancel(self, instance: Instance, task_id: str, step_id: str, attempt: int) -> None:
        """Asks the agent to stop a step; it may not get the request."""
        self._at("send.cancel.before")
        if instance.registration.protocol != "muster":
            await self._foreign.cancel(instance, task_id, step_id, seconds=CANCEL_SECONDS)
            return
        envelope = Envelope(task=task_id, step=step_id, attempt=attempt, milliseconds=0)
        try:
            await transport.fetch(
                self._http,
                "DELETE",
                f"{instance.registration.endpoint}/execute/{task_id}/{step_id}?attempt={attempt}",
                {HEADER: seal(envelope, key=self._key_of(instance.id), body=b"")},
                seconds=CANCEL_SECONDS,
                max_bytes=SMALL_BYTES,
            )
        except httpx.TransportError:
            return  # the closed connection has told the agent already, or it is gone

    async def probe(self, instance: Instance) -> str | None:
        """None if the agent answers `/health` with 2xx within 2 s, else why not; raises `CallNotSent`."""
        try:
            answer = await transport.fetch(
                self._http,
                "GET",
                f"{instance.registration.endpoint}/health",
                self._probe_headers,
                seconds=PROBE_SECONDS,
                max_bytes=SMALL_BYTES,
            )
        except httpx.TransportError as exc:
            failure = failure_from_error(exc, PROBE_SECONDS)
            if isinstance(failure, CallNotSent):
                raise failure from exc
            return failure.detail
        foreign = instance.registration.protocol != "muster"  # it need not have /health
        assert isinstance(answer, Whole)
        well = 200 <= answer.status < 300 or (foreign and answer.status < 500)
        return None if well else f"/health answered HTTP {answer.status}."


def _write_body(request: StepRequest, context: bytes | None) -> bytes:
    """The request as JSON; its values are valid already."""
    if context is None:
        return to_json(request.__dict__)
    rest = to_json({name: value for name, value in request.__dict__.items() if name != "context"})
    return b"".join((rest[:-1], b',"context":', context, b"}"))


def _find_replaced(instance: Instance, answer: Whole) -> None:
    """Raises `AgentReplaced` where what was signed for an instance that sends heartbeats was not for who answers."""
    if answer.status == 401 and instance.registration.instance is not None and b"envelope_refused" in answer.body:
        raise AgentReplaced(
            "Another process now answers at the agent's address and rejects requests signed for this agent."
        )


async def _read_whole(answer: Whole, attempt: Attempt) -> StepResult:
    if answer.status != 200:
        raise failure_from_answer(answer)
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    return await _read(answer.body, kind, attempt)


async def _read(body: bytes, kind: str, attempt: Attempt) -> StepResult:
    attempt.make_room(len(body))
    return await asyncio.to_thread(_parse, body, kind) if len(body) > LARGE_BYTES else _parse(body, kind)


async def _read_stream(response: httpx.Response, attempt: Attempt) -> StepResult:
    try:
        async for event in _read_events(response):
            if event.event == "result":
                return await _read(event.data.encode(), sse.MEDIA_TYPE, attempt)
            if event.event == "progress" and len(event.data) <= MOST_PROGRESS:
                attempt.on_progress(Progress.model_validate_json(event.data))
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadResponse(f"The agent sent an invalid progress event: {where}: {first['msg']}.") from exc
    finally:
        await response.aclose()
    raise AgentLost("The agent's stream ended without a result.")


async def _read_events(response: httpx.Response) -> AsyncIterator[ServerSentEvent]:
    """The stream's events; raises `AgentLost` after 6 s without even a ping; a pause of this process is no silence."""
    events = EventSource(response).aiter_sse()
    while True:
        coming = asyncio.ensure_future(anext(events, None))
        try:
            if not await wait_awake(coming, SILENCE_SECONDS):
                raise AgentLost(f"The agent's stream was silent for {SILENCE_SECONDS:.0f} s.")
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.wait({coming})
        event = coming.result()
        if event is None:
            return
        yield event


def _parse(body: bytes, kind: str) -> StepResult:
    try:
        data = strict_json(body)
        if not isinstance(data, dict):
            raise BadResponse("The agent's response is not a StepResult: not a JSON object.")
        recording = data.pop("recording", None)
        output = data.pop("output", None)  # it is JSON already: validating it again took twice as long
        result = StepResult.model_validate(data)
        result.output = output
        result.recording = recording if isinstance(recording, str) else None  # it is not what the agent is asked for
        if result.missing:
            result.missing = [
                Missing(what=truncate_detail(m.what), why=truncate_detail(m.why)) for m in result.missing[:MOST_MISSING]
            ]
        return result
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(p) for p in first["loc"])
        raise BadResponse(f"The agent's response is not a StepResult: {where}: {first['msg']}.") from exc
    except ValueError as exc:
        raise BadResponse(f"The agent's response is not JSON ({kind or 'no content type'}): {preview(body)}") from exc


def check(result: StepResult, request: StepRequest) -> StepResult:
    """The result, of a completed step; raises a `StepFailure` for every other, and for one of another request."""
    asked = (request.step_id, request.attempt)
    if (result.step_id, result.attempt) != asked or result.task_id not in (None, request.task_id):
        raise BadResponse(
            f"The agent answered for task {result.task_id}, step {result.step_id!r}, attempt {result.attempt}; "
            f"expected task {request.task_id}, step {request.step_id!r}, attempt {request.attempt}."
        )
    if result.status == "completed":
        return result
    if result.status == "cancelled":
        raise AgentLost("The agent cancelled the step.")
    error = result.error
    if error is not None and error.type == "timeout":
        late = StepTimeout(error.detail)
        late.calls, late.recording = result.calls, result.recording
        raise late
    failure = AgentFailed(error.detail if error else "The agent reported a failure without a reason.")
    failure.blames_agent = False  # it works: it answered
    if error is not None and is_error_type(error.type):
        failure.type = error.type
    failure.retryable = error.retryable if error else False
    failure.usage, failure.calls, failure.recording = result.usage, result.calls, result.recording
    raise failure
