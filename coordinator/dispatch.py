"""Carries each task from accepted to ended; the one conductor. Whatever the deadline finds ready is the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from uuid import uuid4

import structlog
from pydantic_core import to_json

from coordinator.admission import Admission
from coordinator.ledger import Ledger
from coordinator.plan import plan
from coordinator.runner import Allowance, Ended, Runner
from coordinator.store import Store
from coordinator.tasks import Step, Task, missing, moved, outcome, ready, skipped, with_step
from shared import logs
from shared.contracts import Status, StepError, TaskRequest, Usage
from shared.errors import Conflict, Invalid, LimitReached, NotFound, StorageFull, Unavailable

END_SECONDS = 0.25  # kept back of every task's time to write its end and answer, or 5 % of a short one
REWRITE_SECONDS = 0.5  # between two tries to write while the disk is full
CLOSE_SECONDS = 1.0  # a task that is being ended may take so long when this process stops
BROKE = "internal_error"
RESUMED_AT_ONCE = 200
LOOK_SECONDS = 0.01  # until a task that another call has just made durable is carried


@dataclass
class Live:
    """A task that has not ended, as this process carries it."""

    task: Task
    until: float  # monotonic: the deadline
    ledger: Ledger
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    unwritten: dict[str, Ended] = field(default_factory=dict)  # by step id: done, and not durable yet
    begun: bool = False
    cancelled: bool = False
    ending: bool = False
    carrier: asyncio.Task[None] | None = None


class Dispatcher:
    """Accepts tasks durably, runs their plans, and ends each exactly once."""

    def __init__(
        self,
        *,
        store: Store,
        runner: Runner,
        admission: Admission,
        known_agents: Callable[[], Iterable[str]],
        default_timeout: float,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._store = store
        self._runner = runner
        self._admission = admission
        self._known_agents = known_agents
        self._default_timeout = default_timeout
        self._now = now
        self._wall = wall
        self._new_id = new_id
        self._live: dict[str, Live] = {}
        self._accepting = 0
        self._closing = False

    @property
    def open_tasks(self) -> int:
        return len(self._live)

    # --- the doors

    async def accept(
        self,
        request: TaskRequest,
        *,
        idempotency_key: str | None = None,
        digest: str = "",
        traceparent: str | None = None,
        tenant: str = "default",
    ) -> tuple[Task, bool]:
        """A durable task for this request, and whether it is new: a known idempotency key gives the task it has.

        Raises `Invalid` (a plan that cannot run; a known key with another body), `Overloaded`, `StorageFull`,
        `Unavailable` while stopping.
        """
        if idempotency_key is not None and (known := await self._store.task_by_key(tenant, idempotency_key)):
            return self._same(known, digest), False
        if self._closing:
            raise Unavailable("The coordinator is stopping.")
        steps = plan(request, known_agents=self._known_agents())
        self._admission.check(len(self._live) + self._accepting)
        at = self._wall()
        task = Task(
            id=self._new_id(),
            description=request.task_description,
            created_at=at,
            deadline=at + (request.timeout_seconds or self._default_timeout),
            steps=steps,
            context=request.context,
            priority=request.priority,
            format=request.format,
            max_calls=request.max_calls,
            max_tokens=request.max_tokens,
            tenant=tenant,
            idempotency_key=idempotency_key,
            request_digest=digest,
            traceparent=traceparent,
            webhook_url=request.webhook_url,
        )
        self._accepting += 1
        try:
            new = await self._store.accept(task)
        finally:
            self._accepting -= 1
        if not new:
            assert idempotency_key is not None
            known = await self._store.task_by_key(tenant, idempotency_key)
            assert known is not None
            return self._same(known, digest), False
        live = self._live[task.id] = self._taken_up(task)
        self._carry_on(live)
        return task, True

    def is_open(self, task_id: str) -> bool:
        """Whether this process carries the task; False once its end is durable."""
        return task_id in self._live

    async def task(self, task_id: str) -> Task:
        """The task as it is now; raises `NotFound`."""
        if (live := self._live.get(task_id)) is not None:
            return live.task
        task = await self._store.task(task_id)
        if task is None:
            raise NotFound(f"No task has the id {task_id!r}.")
        return task

    async def ended(self, task_id: str) -> Task:
        """Waits until the task has ended and its end is durable."""
        while (live := self._live.get(task_id)) is None:
            if (task := await self.task(task_id)).ended:
                return task
            await asyncio.sleep(LOOK_SECONDS)
        await live.ended.wait()
        return live.task

    async def cancel(self, task_id: str) -> Task:
        """Stops a task; raises `NotFound`, or `Conflict` for one that has ended otherwise."""
        live = self._live.get(task_id)
        if live is None:
            task = await self.task(task_id)
            if task.status is not Status.CANCELLED:
                raise Conflict(f"Task {task_id} has ended already: it is {task.status}.")
            return task
        if not live.cancelled and not live.ending:
            live.cancelled = True
            if live.carrier is not None and live.begun:  # one that is cancelled before it begins would end nothing
                live.carrier.cancel()
        return live.task

    async def recover(self) -> int:
        """Takes up every task that the journal has and that has not ended; returns how many. `resume` goes on."""
        for task in await self._store.open_tasks():
            self._live[task.id] = self._taken_up(task)
        return len(self._live)

    async def resume(self) -> None:
        """Goes on with the tasks that were taken up, some at a time: new callers must not wait for thousands."""
        waiting = [live for live in self._live.values() if live.carrier is None]
        for start in range(0, len(waiting), RESUMED_AT_ONCE):
            for live in waiting[start : start + RESUMED_AT_ONCE]:
                self._carry_on(live)
            await asyncio.sleep(0)

    def stop(self) -> None:
        """Takes no more tasks; those that run go on after the next start."""
        self._closing = True

    async def close(self) -> None:
        """Ends this process's part in every task, without ending any task."""
        self.stop()
        carriers = {live.carrier: live.ending or live.cancelled for live in self._live.values() if live.carrier}
        for carrier in (c for c, ending in carriers.items() if not ending):
            carrier.cancel()
        if ending := [c for c, ending in carriers.items() if ending]:
            await asyncio.wait(ending, timeout=CLOSE_SECONDS)
        for carrier in ending:
            carrier.cancel()
        await asyncio.gather(*carriers, return_exceptions=True)

    # --- one task

    def _same(self, known: Task, digest: str) -> Task:
        if known.request_digest != digest:
            pointer = {"pointer": "/headers/Idempotency-Key", "detail": "was used with another body"}
            raise Invalid("This Idempotency-Key was used with another body.", [pointer])
        return known

    def _taken_up(self, task: Task) -> Live:
        if any(s.status is Status.RUNNING for s in task.steps):
            open_steps = (replace(s, status=Status.QUEUED) if s.status is Status.RUNNING else s for s in task.steps)
            task = replace(task, steps=tuple(open_steps))
        spent = sum((s.usage for s in task.steps if s.ended), Usage())
        ledger = Ledger(
            max_calls=task.max_calls,
            max_tokens=task.max_tokens,
            spent_calls=spent.calls,
            spent_tokens=spent.input_tokens + spent.output_tokens,
        )
        return Live(task, self._now() + task.deadline - self._wall(), ledger)

    def _carry_on(self, live: Live) -> None:
        live.carrier = asyncio.create_task(self._carry(live), name=f"task:{live.task.id}")

    async def _carry(self, live: Live) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(task_id=live.task.id)
        live.begun = True
        try:
            if not live.cancelled:
                await self._run(live)
        except asyncio.CancelledError:
            if not live.cancelled:
                raise  # this process stops; the next one goes on
            asyncio.current_task().uncancel()  # type: ignore[union-attr]
        except Exception as exc:  # a bug of ours costs what was not done, never the answer
            logs.get().error("task.broke", exc_info=exc)
            live.task = replace(live.task, error=_broke(exc))
        await self._end(live)

    async def _run(self, live: Live) -> None:
        if self._now() >= self._ends_at(live):
            return
        try:
            async with asyncio.timeout_at(self._loop_time(self._ends_at(live))):
                await self._admission.enter(live.task.priority)
        except TimeoutError:
            why = "The task waited for a free place until its time was over."
            live.task = replace(live.task, error=StepError(type="timeout", detail=why, retryable=True))
            return
        try:
            await self._conduct(live)
        finally:
            self._admission.leave()

    async def _conduct(self, live: Live) -> None:
        live.task = replace(live.task, status=Status.RUNNING, started_at=live.task.started_at or self._wall())
        self._store.start_task(live.task)
        running: set[asyncio.Task[None]] = set()
        cut_at = (self._ends_at(live) + live.until) / 2  # a step's own end comes first, and says what it waited for
        try:
            while True:
                for step, why in skipped(live.task):
                    error = StepError(type="skipped", detail=why)
                    await self._checkpoint(live, Ended(self._never(step, Status.SKIPPED, error)))
                starting = ready(live.task)
                for step in starting:
                    self._start(live, step, running, sharers=len(starting))
                if not running:
                    if not ready(live.task) and not skipped(live.task):
                        return
                    continue
                done, running = await asyncio.wait(
                    running, timeout=max(0.0, cut_at - self._now()), return_when=asyncio.FIRST_COMPLETED
                )
                for ended in done:
                    ended.result()
                if not done:
                    return
        finally:
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)

    def _start(self, live: Live, step: Step, running: set[asyncio.Task[None]], *, sharers: int) -> None:
        try:
            live.ledger, calls, tokens = live.ledger.reserve(sharers=sharers)
        except LimitReached as exc:
            error = StepError(type=exc.type, detail=exc.detail)
            failed = Ended(self._never(step, Status.FAILED, error))
            live.task = with_step(live.task, failed.step)
            running.add(asyncio.create_task(self._checkpoint(live, failed), name=f"{live.task.id}:{step.id}"))
            return
        live.task = with_step(live.task, replace(step, status=Status.RUNNING))
        work = self._step(live, step, calls=calls, tokens=tokens)
        running.add(asyncio.create_task(work, name=f"{live.task.id}:{step.id}"))

    async def _step(self, live: Live, step: Step, *, calls: int, tokens: int) -> None:
        task = live.task
        latest = live.until - (1 - step.latest) * task.seconds
        until = min(self._ends_at(live), max(latest, self._now() + 0.1 * (live.until - self._now())))
        if step.timeout_seconds is not None:
            until = min(until, self._now() + step.timeout_seconds)
        allowance = Allowance(
            calls if task.max_calls is not None else None, tokens if task.max_tokens is not None else None
        )

        def show(now: Step) -> Ledger:
            live.task = with_step(live.task, now)
            return live.ledger

        try:
            ended = await self._runner.run(
                task, step, until=until, allowance=allowance, show=show, missing=missing(task)
            )
        except Exception as exc:  # a bug of ours costs its step, never the task's end
            logs.get().error("step.broke", step_id=step.id, exc_info=exc)
            ended = Ended(self._never(live.task.step(step.id), Status.FAILED, _broke(exc)))
        live.ledger = live.ledger.settle(calls=calls, tokens=tokens, usage=ended.step.usage)
        await self._checkpoint(live, ended)

    async def _checkpoint(self, live: Live, ended: Ended) -> None:
        """Makes a step's end durable, then part of the task."""
        step = ended.step

        async def write() -> bool:
            return await self._store.finish_step(live.task, step, first_byte_at=ended.first_byte_at, ledger=live.ledger)

        live.unwritten[step.id] = ended
        written = await self._durably(write)
        del live.unwritten[step.id]
        if written:
            live.task = with_step(live.task, step)
            return
        stored = await self._store.task(live.task.id)
        first = stored.step(step.id) if stored is not None else step
        live.task = with_step(live.task, first)  # what was there first is what counts
        ours = (first.attempt, first.finished_at) == (step.attempt, step.finished_at)  # its caller was cut off
        if step.status is Status.COMPLETED and not ours:
            self._store.late_result(live.task.id, step.id, step.attempt, to_json(step.output).decode())

    async def _end(self, live: Live) -> None:
        """Names what is not there, ends the task durably, and wakes who waits for it."""
        live.ending = True
        for step in live.task.steps:
            if not step.ended:
                await self._checkpoint(live, live.unwritten.get(step.id) or Ended(self._unfinished(live, step)))
        status = Status.CANCELLED if live.cancelled else outcome(live.task)
        ended = replace(moved(live.task, status), finished_at=self._wall())
        await self._durably(lambda: self._store.finish_task(ended))
        live.task = ended
        self._live.pop(live.task.id, None)
        live.ended.set()

    def _unfinished(self, live: Live, step: Step) -> Step:
        if live.cancelled:
            return self._never(step, Status.CANCELLED, StepError(type="cancelled", detail="The task was cancelled."))
        if live.task.error is not None and live.task.error.type == BROKE:
            return self._never(step, Status.FAILED, live.task.error)
        began = "It was not done" if step.started_at or step.status is Status.RUNNING else "It had not begun"
        detail = f"{began} when the task's {live.task.seconds:.1f} s were over."
        return self._never(step, Status.TIMED_OUT, StepError(type="timeout", detail=detail))

    def _never(self, step: Step, status: Status, error: StepError) -> Step:
        return replace(step, status=status, error=error, finished_at=self._wall())

    async def _durably(self, write: Callable[[], Awaitable[bool]]) -> bool:
        """Writes, and while the disk is full again and again: nothing that is done is forgotten."""
        while True:
            try:
                return await write()
            except StorageFull:
                logs.get().warning("journal.full")
                await asyncio.sleep(REWRITE_SECONDS)

    def _ends_at(self, live: Live) -> float:
        return live.until - min(END_SECONDS, 0.05 * live.task.seconds)

    def _loop_time(self, at: float) -> float:
        return asyncio.get_running_loop().time() + at - self._now()


def _broke(exc: Exception) -> StepError:
    return StepError(type=BROKE, detail=f"The coordinator broke: {type(exc).__name__}.")
