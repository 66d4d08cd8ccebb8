"""The steps of one worker: limited in number, joined and replayed by key, cancelled when no caller waits."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import httpx
import structlog
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from shared.agent import Agent, Reply
from shared.calls.noting import NOTES, Notes
from shared.contracts import CANARY, NO_USAGE, Missing, StepError, StepRequest, StepResult, Usage
from shared.conversation import Ask
from shared.errors import AgentBusy, MusterError
from shared.limits.envelope import Envelope
from shared.recording.tape import TAPE, Tape
from shared.worker.execution import Opened, Recording, Run, StepContext

KEPT_RESULTS = 1_000
KEPT_BYTES = 32_000_000
PROGRESS_SECONDS = 0.1  # between two progress events; quicker ones replace each other

Key = tuple[str, str]


def is_canary(request: StepRequest) -> bool:
    """Whether a step only asks if the agent answers steps."""
    return request.capability == CANARY


class Steps:
    """Runs an agent's steps.

    A completed step is kept (1,000 results, 32 MB) and replayed to the next caller with its key; a failed one
    runs anew. A step that no caller watches any more is cancelled. A canary goes the same way, but takes no step's
    place, is not kept, and does what the agent's `canary` does, or nothing. `answered_at` is when the last step ended
    with an answer, or the last canary well.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        limit: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agent = agent
        self._limit = limit
        self._now = now
        self._running: dict[Key, Run] = {}
        self._kept: OrderedDict[Key, tuple[StepResult, int]] = OrderedDict()
        self._kept_bytes = 0
        self._cancelled: OrderedDict[Key, int] = OrderedDict()
        self._canaries: dict[Key, Run] = {}
        self.replayed = 0
        self.answered_at = now()

    @property
    def running(self) -> int:
        return len(self._running)

    def list_running(self) -> list[str]:
        """The names of the steps at work, `task:step`, which their tasks in asyncio have, too; safe in any thread."""
        return [":".join(key) for key in tuple(self._running)]

    def replay(self, request: StepRequest) -> StepResult | None:
        """The result this worker already has for the step, under the attempt that asks now."""
        found = self._kept.get((request.task_id, request.step_id))
        if found is None:
            return None
        self.replayed += 1
        return found[0].model_copy(update={"attempt": request.attempt})

    def join(
        self,
        request: StepRequest,
        *,
        opened: Opened,
        envelope: Envelope,
        ask: Ask | None = None,
        tape: Tape | None = None,
    ) -> Run:
        """The run of this step, started if it is not running yet; raises `AgentBusy` when the worker is full.

        One that was cancelled is not joined, but waited for: a step never runs twice at once. `ask` is the conversation
        behind the step, where there is one, and `tape` what its exchanges pass by.
        """
        key = (request.task_id, request.step_id)
        runs = self._canaries if is_canary(request) else self._running
        before = runs.get(key)
        if before is not None and not before.ending:
            before.attempt = max(before.attempt, request.attempt)
            return before
        if before is None and self.running >= self._limit:
            raise AgentBusy(
                f"{self._agent.name} is busy: {self._limit} of {self._limit} steps are running.",
                headers={"Retry-After": "1"},
            )
        run = Run(request.attempt)
        seconds = envelope.milliseconds / 1000
        context = StepContext(
            run=run,
            envelope=envelope,
            until=self._now() + seconds,
            now=self._now,
            opened=opened,
            ask=ask,
            tape=tape,
        )
        ending = before.task if before is not None else None
        work = self._run(request, context, seconds, ending, tape)
        run.task = asyncio.create_task(work, name=f"{key[0]}:{key[1]}")
        runs[key] = run
        run.task.add_done_callback(lambda _: _forget(runs, key, run))
        if self._cancelled.get(key, 0) >= request.attempt:
            run.cancel()
        return run

    def leave(self, run: Run) -> None:
        """One watcher is gone; with the last one the step ends."""
        run.watchers -= 1
        if run.watchers <= 0:
            run.cancel()

    def cancel(self, key: Key, attempt: int) -> bool:
        """Ends the step if this attempt or an earlier one runs; one that arrives late does not start."""
        self._cancelled[key] = attempt
        while len(self._cancelled) > KEPT_RESULTS:
            self._cancelled.popitem(last=False)
        run = self._running.get(key)
        if run is None or run.attempt > attempt:
            return False
        run.cancel()
        return True

    async def close(self) -> None:
        """Cancels whatever still runs."""
        tasks = [run.task for run in (*self._running.values(), *self._canaries.values()) if run.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(
        self,
        request: StepRequest,
        context: StepContext,
        seconds: float,
        before: asyncio.Task[StepResult] | None,
        tape: Tape | None,
    ) -> StepResult:
        if tape is not None:
            TAPE.set(tape)
        structlog.contextvars.bind_contextvars(
            task_id=request.task_id, step_id=request.step_id, attempt=request.attempt
        )
        began, notes = self._now(), Notes(self._now)
        NOTES.set(notes)
        result = await self._execute(request, context, seconds, before)
        if notes.calls:
            result.calls = notes.calls
        if isinstance(tape, Recording):
            result.recording = tape.write(self._agent.recipe, request.attempt)
        well = result.status == "completed"
        if well or (result.status == "failed" and not is_canary(request)):
            self.answered_at = self._now()
        say = context.log.warning if not well else context.log.debug if is_canary(request) else context.log.info
        say(
            "step.done",
            status=result.status,
            ms=round((self._now() - began) * 1000, 1),
            **({"error": result.error.type, "why": result.error.detail} if result.error else {}),
        )
        return result

    async def _execute(
        self, request: StepRequest, context: StepContext, seconds: float, before: asyncio.Task[StepResult] | None
    ) -> StepResult:
        def fail(
            type: str, detail: str, *, retryable: bool = False, status: Any = "failed", usage: Usage = NO_USAGE
        ) -> StepResult:
            said = detail[:2_000].encode(errors="replace").decode()  # an exception's text may hold lone surrogates
            error = StepError(type=type, detail=said, retryable=retryable)
            return StepResult(
                task_id=request.task_id,
                step_id=request.step_id,
                attempt=request.attempt,
                status=status,
                error=error,
                usage=usage,
            )

        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                if before is not None:
                    await asyncio.wait({before})
                    if (kept := self.replay(request)) is not None:  # it was done before it heard of its end
                        return kept
                reply = await (self._answer_canary if is_canary(request) else self._agent.run)(request, context)
            result = StepResult(
                task_id=request.task_id,
                step_id=request.step_id,
                attempt=request.attempt,
                status="completed",
                output=reply.output,
                usage=reply.usage,
                missing=[Missing.model_validate(m) for m in reply.missing],
            )
            if not is_canary(request):
                self._keep((request.task_id, request.step_id), result)
            return result
        except asyncio.CancelledError:
            return fail("cancelled", "The step was cancelled.", status="cancelled")
        except TimeoutError as exc:
            if limit.expired():
                return fail("timeout", f"The step ran out of time ({seconds:.1f} s).")
            return fail("agent_error", f"TimeoutError: {exc}", retryable=True)
        except MusterError as exc:
            return fail(exc.type, exc.detail, retryable=exc.retryable, usage=exc.usage)
        except httpx.TransportError as exc:
            return fail("agent_error", f"{type(exc).__name__}: {exc}", retryable=True)
        except ValidationError as exc:
            return fail("bad_output", f"The agent's reply is not valid JSON for a result: {exc.errors()[0]['msg']}.")
        except PydanticSerializationError as exc:
            return fail("bad_output", f"The agent's reply cannot be serialized as JSON: {exc}.")
        except Exception as exc:  # an author's bug fails its step, never the service
            context.log.error("step.broke", exc_info=exc)
            return fail("agent_error", f"{type(exc).__name__}: {exc}")

    async def _answer_canary(self, request: StepRequest, context: StepContext) -> Reply:
        if self._agent.canary is not None:
            await self._agent.canary(request, context)
        return Reply(None)

    def _keep(self, key: Key, result: StepResult) -> None:
        size = len(result.model_dump_json())
        self._kept[key] = (result, size)
        self._kept_bytes += size
        while len(self._kept) > KEPT_RESULTS or self._kept_bytes > KEPT_BYTES:
            _, (_, gone) = self._kept.popitem(last=False)
            self._kept_bytes -= gone


def _forget(runs: dict[Key, Run], key: Key, run: Run) -> None:
    if runs.get(key) is run:
        del runs[key]
