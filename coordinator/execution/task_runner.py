"""Carries one task through its plan; at the deadline, whatever is ready is returned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from pydantic import JsonValue
from pydantic_core import to_json

from coordinator.admission.admission import Admission
from coordinator.admission.turns import Turn
from coordinator.execution.delegation_grant import Grant
from coordinator.execution.durably import write_durably
from coordinator.execution.model_planner import Planner, Proposal, propose_for
from coordinator.execution.running_task import Live, make_live
from coordinator.execution.step_runner import Allowance, EndedStep, Runner
from coordinator.journal.rows import planned
from coordinator.journal.store import Store
from coordinator.observers.traces import begin_trace, within_step
from coordinator.recording.flight import board
from coordinator.tasks.frontier import Frontier
from coordinator.tasks.task import Step, Task, end_with, missing, move, outcome, with_step
from coordinator.tasks.unfinished import end_unfinished, internal_error
from shared import logs
from shared.contracts import NO_USAGE, Missing, Status, StepError, Usage
from shared.copying import changed
from shared.errors import LimitReached, StepTimeout
from shared.limits.ledger import Ledger

END_SECONDS = 0.25  # of each task's time, kept for writing its end and answering; 5 % of a short one
ANSWERED = {Status.COMPLETED: True, Status.TIMED_OUT: False}  # a step's end, as its agent's places are counted
BY_COORDINATOR = "coordinator"


class Conductor:
    """Runs the plan of one task after another; ends each exactly once."""

    def __init__(
        self,
        *,
        store: Store,
        runner: Runner,
        admission: Admission,
        planner: Planner | None,
        now: Callable[[], float],
    ) -> None:
        self._planner = planner
        self._traces = runner.traces
        self._store = store
        self._runner = runner
        self._admission = admission
        self._places = admission.places
        self._now = now

    def take_up(self, task: Task, turn: Turn, *, until: float) -> Live:
        """Takes a new task, or one from the journal, whose running steps are queued again; `until` is monotonic."""
        for output in (s.output for s in task.steps if s.output is not None):
            self._runner.outputs.add(task.id, len(to_json(output)))
        return make_live(task, turn, self._places.make_seat(turn.lane, task.priority), until=until)

    async def carry(self, live: Live) -> None:
        """Carries the task to its end; if cancelled without `live.cancelled`, leaves it to the next start."""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(task_id=live.task.id)
        board(live.flight)
        begin_trace(self._traces, live.task)
        live.begun = True
        try:
            if not live.cancelled and live.task.error is None:  # a quarantined one has its error from the start
                await self._run(live)
        except asyncio.CancelledError:
            if not live.cancelled:
                raise  # this process stops; the next one takes the task up
            asyncio.current_task().uncancel()  # type: ignore[union-attr]
        except Exception as exc:  # a bug of ours costs the open steps, never the answer
            logs.get().error("task.broke", exc_info=exc)
            live.task = changed(live.task, error=internal_error(exc))
        await self._end(live)

    async def _run(self, live: Live) -> None:
        if self._now() >= self._compute_end(live):
            return
        try:
            if await self._enter(live):
                self._admission.turns.begin(live.turn, until=live.until)
                await self._conduct(live)
        finally:
            self._admission.turns.end(live.turn, Status.CANCELLED if live.cancelled else live.task.status)
            self._admission.leave(live.seat)

    async def _enter(self, live: Live) -> bool:
        """Waits for a place; False if there is not time enough for the task any more."""
        targets = [step.asks for step in live.frontier.list_first(live.task)]
        if not self._admission.try_enter(live.seat, targets):
            try:
                async with asyncio.timeout_at(self._to_loop_time(self._compute_end(live))):
                    await self._admission.enter(live.seat, targets)
            except TimeoutError:
                self._time_out(live, "The task timed out while queued.")
                return False
        left = self._compute_end(live) - self._now()
        if live.task.started_at is None and not self._admission.can_be_done(live.turn, left):
            self._time_out(live, f"The task timed out while queued: the {left:.1f} s left are too few for it.")
            return False
        return True

    def _time_out(self, live: Live, why: str) -> None:
        live.task = changed(live.task, error=StepError(type="timeout", detail=why, retryable=True))

    async def _conduct(self, live: Live) -> None:
        cut_off = live.task.started_at is not None
        began = live.task.started_at or live.read_clock(self._now())
        live.task = changed(live.task, status=Status.RUNNING, started_at=began)
        self._store.start_task(live.task)
        running: set[asyncio.Task[None]] = set()
        if (planning := next((s for s in live.task.steps if s.is_planning and not s.ended), None)) is not None:
            await self._make_plan(live, planning, cut_off=cut_off)
        cut_at = (self._compute_end(live) + live.until) / 2  # a step's own end comes first, and says what it waited for
        try:
            async with asyncio.timeout_at(self._to_loop_time(cut_at)) as limit:
                await self._run_steps(live, running)
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)

    async def _run_steps(self, live: Live, running: set[asyncio.Task[None]]) -> None:
        """Starts every step as soon as it may, until all have ended; `running` holds those under way."""
        landed: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
        while True:
            starting = await self._skip(live)
            later = live.frontier.waiting
            if len(starting) == 1 and not running:  # alone: no asyncio task of its own
                await self._start(live, starting[0], sharers=1, later=later)
                continue
            for sharers, step in zip(range(len(starting), 0, -1), starting, strict=True):
                work = self._start(live, step, sharers=sharers, later=later)
                task = asyncio.create_task(work, name=f"{live.task.id}:{step.id}")
                task.add_done_callback(landed.put_nowait)
                running.add(task)
            if not running:
                return
            ended = [await landed.get()]
            while not landed.empty():
                ended.append(landed.get_nowait())
            for task in ended:
                running.discard(task)
                task.result()

    async def _skip(self, live: Live) -> list[Step]:
        """Ends the steps that can never start; returns those that may start now."""
        starting: list[Step] = []
        while due := live.frontier.due(live.task):  # a skipped step may make others due
            for step, why in due:
                if why is None:
                    starting.append(step)
                else:
                    skipped = self._give_up(live, step, Status.SKIPPED, StepError(type="skipped", detail=why))
                    await self._checkpoint(live, skipped)
        return starting

    async def _make_plan(self, live: Live, step: Step, *, cut_off: bool) -> None:
        """Replaces the steps by those that the planner proposes; if it has none, keeps them and records why."""
        step = changed(step, started_at=step.started_at or live.read_clock(self._now()), answered_by=BY_COORDINATOR)
        live.task = with_step(live.task, changed(step, status=Status.RUNNING))
        who: dict[str, JsonValue] = {"agent": BY_COORDINATOR, "instance": None}
        self._store.note(live.task.id, "step.started", {"step_id": step.id, "attempt": step.attempt, **who})
        if cut_off:
            proposal = Proposal(why="The coordinator restarted.")
        else:
            with within_step(self._traces, live.task.id, step.id):
                proposal = await propose_for(live, self._planner, now=self._now())
        missing = () if proposal.steps else (Missing(what="model", why=f"No plan was made. {proposal.why}"),)
        step = changed(
            step,
            status=Status.COMPLETED,
            output={"steps": planned(proposal.steps)},
            usage=proposal.usage,
            missing=missing,
            finished_at=live.read_clock(self._now()),
        )
        if not proposal.steps:
            await self._checkpoint(live, EndedStep(step))
            return
        task = changed(live.task, steps=(step, *proposal.steps))
        written = await write_durably(lambda: self._store.replan(task, step, live.ledger))
        live.task = task if written else await self._store.task(task.id) or task
        live.frontier = Frontier(live.task.steps)

    def _start(self, live: Live, step: Step, *, sharers: int, later: int) -> Coroutine[Any, Any, None]:
        try:
            live.ledger, calls, tokens = live.ledger.reserve(sharers=sharers, later=later)
        except LimitReached as exc:
            failed = self._give_up(live, step, Status.FAILED, StepError(type=exc.type, detail=exc.detail))
            live.task = with_step(live.task, failed.step)
            return self._checkpoint(live, failed)
        live.task = with_step(live.task, changed(step, status=Status.RUNNING))
        live.sent_before.discard(step.id)
        return self._run_step(live, step, calls=calls, tokens=tokens)

    async def _run_step(self, live: Live, step: Step, *, calls: int, tokens: int) -> None:
        task = live.task
        latest = live.until - (1 - step.latest) * (task.deadline - (task.started_at or task.created_at))
        until = min(self._compute_end(live), max(latest, self._now() + 0.1 * (live.until - self._now())))
        if step.timeout_seconds is not None:
            until = min(until, self._now() + step.timeout_seconds)
        before = step.spent
        allowance = Allowance(
            None if task.max_calls is None else calls + before.calls,
            None if task.max_tokens is None else tokens + before.tokens,
        )
        grant = live.grants[step.id] = Grant(
            Ledger(
                max_calls=None if task.max_calls is None else calls - 1,  # one is its own attempt
                max_tokens=None if task.max_tokens is None else tokens,
            )
        )

        def record(now: Step) -> Ledger:
            live.task = with_step(live.task, now)
            self._places.move(live.seat, step.id, now.answered_by or "")
            return live.ledger

        answered: bool | None = None
        try:
            await self._places.begin(live.seat, step.id, step.asks, until=until, said=step.target)
            ended = await self._runner.run(
                task,
                step,
                until=until,
                allowance=allowance,
                grant=grant,
                record=record,
                read_clock=lambda: live.read_clock(self._now()),
                missing=missing(task) if live.frontier.flawed else [],
            )
            answered = ANSWERED.get(ended.step.status)
        except StepTimeout as exc:  # it waited for others
            ended = self._give_up(live, step, Status.TIMED_OUT, StepError(type=exc.type, detail=exc.detail))
        except asyncio.CancelledError:  # the task ends: what the step has spent counts
            delegated = await self._end_delegations(live, step)
            cut_off = live.task.step(step.id)
            sent = Usage(calls=int(cut_off.attempt > step.attempt))
            live.task = with_step(live.task, changed(cut_off, usage=cut_off.spent + delegated + sent))
            raise
        except Exception as exc:  # a bug of ours costs its step, never the task's end
            logs.get().error("step.broke", step_id=step.id, exc_info=exc)
            ended = self._give_up(live, live.task.step(step.id), Status.FAILED, internal_error(exc))
        finally:
            self._places.end(live.seat, step.id, answered=answered)
        delegated = await self._end_delegations(live, step)
        if delegated is not NO_USAGE:
            ended = changed(ended, step=changed(ended.step, usage=ended.step.usage + delegated))
        live.ledger = live.ledger.settle(calls=calls, tokens=tokens, usage=ended.step.usage, before=before)
        await self._checkpoint(live, ended)

    async def _end_delegations(self, live: Live, step: Step) -> Usage:
        """Ends the delegations of a step that has ended; returns what they used."""
        grant = live.grants.pop(step.id)
        await grant.end()
        return grant.used

    async def _checkpoint(self, live: Live, ended: EndedStep) -> None:
        """Writes a step's end durably, then adds it to the task."""
        step = ended.step
        is_last = live.frontier.left == 1 and not live.ending and not live.cancelled
        last = end_with(live.task, step, at=live.read_clock(self._now())) if is_last else None

        async def write() -> bool:
            return await self._store.finish_step(
                live.task, step, first_byte_at=ended.first_byte_at, ledger=live.ledger, last=last
            )

        live.unwritten[step.id] = ended
        written = await write_durably(write)
        del live.unwritten[step.id]
        if written:
            live.task = last or with_step(live.task, step)
            live.frontier.ended(step)
            return
        if live.flight is not None:
            live.flight.put_back()
        stored = await self._store.task(live.task.id)
        first = stored.step(step.id) if stored is not None else step
        live.task = with_step(live.task, first)  # the result that was written first counts
        live.frontier.ended(first)
        ours = (first.attempt, first.finished_at) == (step.attempt, step.finished_at)  # its caller was cut off
        if step.status is Status.COMPLETED and not ours:
            self._store.late_result(live.task.id, step.id, step.attempt, to_json(step.output).decode())

    async def _end(self, live: Live) -> None:
        """Ends the open steps and the task durably, and wakes its waiters."""
        live.ending = True
        if live.cancelled and live.flight is not None:
            live.flight.note("cancel")
        if live.task.ended:  # with its last step
            self._runner.outputs.give_back(live.task.id)
            live.ended.set()
            return
        if not live.cancelled:
            await self._skip(live)  # steps that were due at the deadline
        for step in live.task.steps:
            if step.id in live.sent_before:
                self._runner.forget(live.task, step)
            if not step.ended:
                status, error = end_unfinished(live.task, step, cancelled=live.cancelled)
                await self._checkpoint(live, live.unwritten.get(step.id) or self._give_up(live, step, status, error))
        status = Status.CANCELLED if live.cancelled else outcome(live.task)
        ended = changed(move(live.task, status), finished_at=live.read_clock(self._now()))
        if not await write_durably(lambda: self._store.finish_task(ended)):
            ended = await self._store.task(ended.id) or ended  # its last step had ended it, and its caller was cut off
        live.task = ended
        self._runner.outputs.give_back(ended.id)
        live.ended.set()

    def _give_up(self, live: Live, step: Step, status: Status, error: StepError) -> EndedStep:
        return EndedStep(changed(step, status=status, error=error, finished_at=live.read_clock(self._now())))

    def _compute_end(self, live: Live) -> float:
        return live.until - min(END_SECONDS, 0.05 * live.task.seconds)

    def _to_loop_time(self, at: float) -> float:
        return asyncio.get_running_loop().time() + at - self._now()
