"""Carries one step from ready to ended: takes an instance, makes an attempt, and retries."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from pydantic import JsonValue

from coordinator.agent_calls.attempt import Attempt, StepAnswer
from coordinator.agent_calls.client import WorkerClient
from coordinator.agent_pool.pool import Agents
from coordinator.agents.instance import Instance
from coordinator.execution.delegation_grant import Grant
from coordinator.execution.hedging import HedgedAnswer, Hedges
from coordinator.execution.output_room import OutputRoom
from coordinator.execution.retry import GONE, Retries
from coordinator.journal.store import Store
from coordinator.observers.meter import Meter
from coordinator.observers.traces import Traces
from coordinator.recording.flight import FLIGHT
from coordinator.tasks.task import Step, Task, upstream
from shared.contracts import CONTRACT, ONE_CALL, Missing, Progress, Status, StepError, StepRequest, Usage
from shared.copying import changed, constructed
from shared.errors import AgentReplaced, NoAgent, StepFailure, StepTimeout, StorageUnwritable
from shared.limits.envelope import Envelope
from shared.limits.ledger import Ledger
from shared.telemetry.genai import add_usage
from shared.telemetry.trace_ids import read_header

PROGRESS_SECONDS = 0.05  # between two progress events of a step that are kept: each is a row of the journal


@dataclass(frozen=True)
class Allowance:
    """What one step may spend in all, past attempts included; None is no limit."""

    calls: int | None = None
    tokens: int | None = None

    def subtract(self, spent: Usage) -> Allowance:
        """What is left after `spent`."""
        return Allowance(
            None if self.calls is None else max(0, self.calls - spent.calls),
            None if self.tokens is None else max(0, self.tokens - spent.tokens),
        )


@dataclass(frozen=True)
class EndedStep:
    """A step that has ended, and when the first byte of its last answer came."""

    step: Step
    first_byte_at: float | None = None


class Runner:
    """Runs steps; never raises for a failed one."""

    def __init__(
        self,
        *,
        agents: Agents,
        client: WorkerClient,
        store: Store,
        meter: Meter,
        now: Callable[[], float],
        random: Random,
        traces: Traces | None = None,
    ) -> None:
        self._agents = agents
        self._client = client
        self._store = store
        self._meter = meter
        self._now = now
        self.traces = traces
        self._retries = Retries(now=now, random=random)
        self._hedges = Hedges(agents, meter, self.call)
        self._stopping = False
        self.outputs = OutputRoom()

    def stop(self) -> None:
        """From now on, agents keep the steps that are cut off: the next start takes them up."""
        self._stopping = True

    def forget(self, task: Task, step: Step) -> None:
        """Tells a foreign agent to stop a step of a previous process; our own workers stop with the connection."""
        instance = self._agents.registry.get(step.instance or "")
        if instance is not None and instance.registration.protocol != "muster":
            self._agents.cancel(instance, task.id, step.id, step.attempt)

    async def run(
        self,
        task: Task,
        step: Step,
        *,
        until: float,
        allowance: Allowance,
        grant: Grant,
        record: Callable[[Step], Ledger],
        read_clock: Callable[[], float],
        missing: list[Missing],
    ) -> EndedStep:
        """The step as it ended, by `until` (monotonic) at the latest.

        `record` gets the step at the start of each attempt and returns the task's ledger, to be written with it.
        `grant` holds its delegations, which end with each attempt and count as its usage.
        `read_clock` tells the task's own time (Unix seconds).
        `missing` tells the agent what earlier steps did not deliver.
        """
        since, queued_at, tried = self._now(), read_clock(), set[str]()
        step = changed(step, started_at=step.started_at or queued_at)
        while True:
            try:
                instance = await self.take(step, tried=tried, until=until, since=since)
            except (NoAgent, StepTimeout) as failure:
                return EndedStep(self._fail(step, failure, at=read_clock()))
            self._meter.step_waited(instance.name, self._now() - since)
            step = changed(
                step,
                status=Status.RUNNING,
                attempt=step.attempt + 1,
                instance=instance.id,
                answered_by=instance.name,
            )
            self._store.start_attempt(task, step, agent=instance.name, queued_at=queued_at, ledger=record(step))
            try:
                left = allowance.subtract(step.spent + grant.used + ONE_CALL)
                hedged = await self._make_attempt(
                    task, step, instance, until=until, left=left, grant=grant, missing=missing
                )
                at = read_clock()
                return EndedStep(self._complete(step, hedged, at=at), at - (self._now() - hedged.answer.first_byte_at))
            except StepFailure as failure:
                tried.add(instance.id)
                step = changed(
                    step,
                    failed_attempts=step.failed_attempts + 1,
                    usage=step.usage + failure.usage,
                    calls=tuple(failure.calls),
                )
                await grant.end()
                left = allowance.subtract(step.spent + grant.used)
                pause = self._retries.choose_pause(
                    failure, attempts=step.failed_attempts, calls_left=left.calls, until=until
                )
                if pause is None:
                    return EndedStep(self._fail(step, failure, at=read_clock()))
                self._store.end_attempt(task, step, error=_to_error(failure), wait=pause)
                await asyncio.sleep(pause)
                since = self._now()

    async def _make_attempt(
        self,
        task: Task,
        step: Step,
        instance: Instance,
        *,
        until: float,
        left: Allowance,
        grant: Grant,
        missing: list[Missing],
    ) -> HedgedAnswer:
        seconds, reading = max(0.0, until - self._now()), False

        def tell(progress: Progress) -> None:
            nonlocal reading
            reading = reading or progress.report is not None  # somebody reads along: another answer would contradict it
            self._note_progress(task, step, progress)

        request = constructed(
            StepRequest,
            contract=CONTRACT,
            task_id=task.id,
            step_id=step.id,
            attempt=step.attempt,
            capability=step.capability,
            task_description=task.description,
            input=step.input,
            upstream=upstream(task, step),
            missing=missing,
            context=task.context,
        )
        envelope = Envelope(
            task=task.id,
            step=step.id,
            attempt=step.attempt,
            milliseconds=max(1, int(seconds * 1000)),
            calls=left.calls,
            tokens=left.tokens,
            tenant=task.tenant,
        )
        attempt = Attempt(
            instance,
            request,
            envelope,
            seconds,
            on_progress=thin_out(tell, self._now),
            traceparent=self.name_parent(task, step.id),
            context=task.context_json,
            resumed=True,
            make_room=partial(self.outputs.take, task.id),
            record=FLIGHT.get() is not None,
        )
        if left.calls is not None or left.tokens is not None:  # what a call that is cut off has spent is not known
            return HedgedAnswer(await self.call(attempt), instance)
        return await self._hedges.call(
            attempt,
            may_start=lambda: not (grant.open or grant.used.calls or reading or self._stopping),
            tell=partial(self._note_hedge, task, step),
        )

    async def take(self, step: Step, *, tried: Collection[str], until: float, since: float) -> Instance:
        """What `Agents.take` gives, by the task's flight where there is one."""
        flight, agents = FLIGHT.get(), self._agents
        if flight is None:
            return await agents.take(step, tried=tried, until=until, since=since)
        return await flight.take(step, lambda: agents.take(step, tried=tried, until=until, since=since))

    def name_parent(self, task: Task, step_id: str) -> str | None:
        """The `traceparent` of what is called for a step: the step's own span, where spans are recorded."""
        place = self.traces.find_step(task.id, step_id) if self.traces is not None else None
        return task.traceparent if place is None else place.header

    async def call(self, attempt: Attempt) -> StepAnswer:
        """Makes an attempt at an instance that was taken, and releases it; raises a `StepFailure`.

        If the call ends before its answer, the agent is told to stop, unless the next start resumes the call.
        """
        if self.traces is None:
            return await self._call(attempt)
        with self.traces.begin_call(attempt.instance, attempt.envelope, read_header(attempt.traceparent)) as span:
            answer = await self._call(replace(attempt, traceparent=span.header))
            add_usage(span, answer.result.usage)
            return answer

    async def _call(self, attempt: Attempt) -> StepAnswer:
        instance, envelope, flight = attempt.instance, attempt.envelope, FLIGHT.get()
        began = self._now()
        error: str | None = "cancelled"
        blame = gone = replaced = False
        abandoned = True  # cancelled or out of time: stop the agent, its result is no longer needed
        self._retries.count_call()
        try:
            answer = await (self._send(attempt) if flight is None else flight.call(attempt, self._send))
            error = None
            self._meter.answered(instance.name, answer.first_byte_at - began)
            self._meter.spent(instance.name, answer.result.usage)
            return answer
        except StepFailure as failure:
            error, blame = failure.detail, failure.blames_agent
            self._meter.spent(instance.name, failure.usage)
            gone, replaced = isinstance(failure, GONE), isinstance(failure, AgentReplaced)
            abandoned = isinstance(failure, StepTimeout)
            raise
        finally:
            self._agents.release(instance, seconds=self._now() - began, error=error, blame=blame)
            if gone:
                self._agents.suspect(instance, error or "", replaced=replaced)
            elif error is not None and abandoned and not (attempt.resumed and self._stopping):
                self._agents.cancel(instance, envelope.task, envelope.step, envelope.attempt)

    async def _send(self, attempt: Attempt) -> StepAnswer:
        instance, envelope, seconds = attempt.instance, attempt.envelope, attempt.seconds
        limited = envelope.calls is not None or envelope.tokens is not None  # spending must survive kill -9
        foreign = instance.registration.protocol != "muster"  # a repeat must find the first call
        try:
            async with self._agents.watch_call(instance, seconds=seconds + 0.05 if limited or foreign else None):
                if limited or foreign:
                    with contextlib.suppress(StorageUnwritable):
                        await self._store.attempts_written()
                return await self._client.execute(attempt)
        except TimeoutError as exc:
            raise StepTimeout(f"No answer within {seconds:.1f} s.") from exc

    def _complete(self, step: Step, hedged: HedgedAnswer, *, at: float) -> Step:
        result = hedged.answer.result
        return changed(
            step,
            status=Status.COMPLETED,
            instance=hedged.instance.id,
            output=result.output,
            usage=step.spent + result.usage + ONE_CALL + hedged.extra,
            missing=tuple(result.missing),
            calls=tuple(result.calls),
            error=None,
            finished_at=at,
        )

    def _fail(self, step: Step, failure: StepFailure, *, at: float) -> Step:
        status = Status.TIMED_OUT if isinstance(failure, StepTimeout) else Status.FAILED
        return changed(step, status=status, error=_to_error(failure), usage=step.spent, finished_at=at)

    def _note_hedge(self, task: Task, step: Step, second: Instance, seconds: float) -> None:
        data: dict[str, JsonValue] = {"step_id": step.id, "attempt": step.attempt, "agent": second.name}
        self._store.note(task.id, "step.hedged", data | {"instance": second.id, "after_seconds": round(seconds, 3)})

    def _note_progress(self, task: Task, step: Step, progress: Progress) -> None:
        data: dict[str, JsonValue] = {"step_id": step.id, "attempt": step.attempt, "message": progress.message}
        if progress.fraction is not None:
            data["fraction"] = progress.fraction
        if progress.report is not None:
            data["report"] = progress.report
        self._store.note(task.id, "step.progress", data)


def thin_out(tell: Callable[[Progress], None], now: Callable[[], float]) -> Callable[[Progress], None]:
    """Passes on the progress of an attempt, at most once in `PROGRESS_SECONDS`."""
    told_at = 0.0

    def tell_seldom(progress: Progress) -> None:
        nonlocal told_at
        if now() - told_at >= PROGRESS_SECONDS:
            told_at = now()
            tell(progress)

    return tell_seldom


def _to_error(failure: StepFailure) -> StepError:
    return StepError(type=failure.type, detail=failure.detail, retryable=failure.retryable)
