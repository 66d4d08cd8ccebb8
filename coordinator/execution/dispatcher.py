"""Accepts, waits for, cancels and resumes tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Container
from functools import partial
from uuid import uuid4

from coordinator.admission.admission import Admission, weigh
from coordinator.admission.turns import Turn
from coordinator.execution.model_planner import Planner
from coordinator.execution.running_task import Live
from coordinator.execution.starts import MOST_DEATHS, Starts
from coordinator.execution.step_runner import Runner
from coordinator.execution.task_runner import Conductor
from coordinator.journal.deadlines import Deadlines
from coordinator.journal.store import Store
from coordinator.recording.flight import Flights
from coordinator.tasks.lane import NO_LANE, Lane
from coordinator.tasks.plan import PLANNING, can_be_planned, plan
from coordinator.tasks.rerun import RerunRequest, rerun
from coordinator.tasks.task import Step, Task
from coordinator.tasks.unfinished import quarantine_error
from shared import logs
from shared.background import end
from shared.contracts import Status, TaskRequest
from shared.copying import changed
from shared.errors import Conflict, KeyReused, NotFound, Unavailable

CLOSE_SECONDS = 1.0  # for writing the ends of tasks when this process stops
RESUMED_AT_ONCE = 200
LOOK_SECONDS = 0.01  # between checks for a task that another call is about to carry


class Dispatcher:
    """Accepts tasks durably and has a Conductor carry each to its end."""

    def __init__(
        self,
        *,
        store: Store,
        starts: Starts,
        deadlines: Deadlines,
        runner: Runner,
        admission: Admission,
        known_agents: Callable[[], Container[str]],
        planner: Planner | None = None,
        flights: Flights | None = None,
        default_timeout: float,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._store = store
        self._starts = starts
        self._deadlines = deadlines
        self._runner = runner
        self._admission = admission
        self._conductor = Conductor(store=store, runner=runner, admission=admission, planner=planner, now=now)
        self._plans = planner is not None
        self._flights = flights
        self._known_agents = known_agents
        self._default_timeout = default_timeout
        self._now = now
        self._wall = wall
        self._new_id = new_id
        self._live: dict[str, Live] = {}
        self._weight = 0  # of all live tasks
        self._writing: set[asyncio.Task[bool]] = set()  # being written to the journal
        self._closing = False

    @property
    def open_tasks(self) -> int:
        return len(self._live)

    @property
    def accepted(self) -> int:
        """Open tasks, and those that are being accepted."""
        return len(self._live) + len(self._writing)

    # --- for callers

    async def accept(
        self,
        request: TaskRequest,
        *,
        idempotency_key: str | None = None,
        digest: str = "",
        traceparent: str | None = None,
        tenant: str = "default",
        lane: Lane = NO_LANE,
    ) -> tuple[Task, bool]:
        """A durable task for this request, and whether it is new: a known idempotency key returns its task.

        Raises `Invalid` (a plan that cannot run), `KeyReused` (a known key with another body), `Overloaded`,
        `StorageFull`, `Unavailable` while stopping.
        """
        if idempotency_key is not None and (known := await self._store.task_by_key(tenant, idempotency_key)):
            return self._check_same(known, digest), False
        if self._closing:
            raise Unavailable("The coordinator is shutting down.")
        self._admission.check_room(self.accepted)
        steps = plan(request, known_agents=self._known_agents())
        if self._plans and can_be_planned(request):
            steps = (Step(id=PLANNING), *steps)
        at, began = self._wall(), self._now()
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
            lane=lane,
            idempotency_key=idempotency_key,
            request_digest=digest,
            traceparent=traceparent,
            webhook_url=request.webhook_url,
        )
        return await self.submit(task, began)

    async def rerun(
        self,
        task_id: str,
        wish: RerunRequest,
        *,
        idempotency_key: str | None = None,
        digest: str = "",
        traceparent: str | None = None,
        tenant: str = "default",
        lane: Lane = NO_LANE,
    ) -> tuple[Task, bool]:
        """A durable task that does an ended one again, or a part of it; whether it is new, as `accept` says.

        Raises what `accept` raises, `NotFound`, and `Conflict` for a task that has not ended.
        """
        if idempotency_key is not None and (known := await self._store.task_by_key(tenant, idempotency_key)):
            return self._check_same(known, digest), False
        if self._closing:
            raise Unavailable("The coordinator is shutting down.")
        parent = await self.get_task(task_id)
        steps, owed = rerun(parent, wish, known_agents=self._known_agents())
        at, began = self._wall(), self._now()
        task = changed(
            parent,
            id=self._new_id(),
            status=Status.QUEUED,
            created_at=at,
            deadline=at + (wish.timeout_seconds or parent.seconds),
            steps=steps,
            max_calls=wish.max_calls or parent.max_calls,
            max_tokens=wish.max_tokens or parent.max_tokens,
            idempotency_key=idempotency_key,
            request_digest=digest,
            traceparent=traceparent,
            rerun=owed,
            lane=lane,
            error=None,
            started_at=None,
            finished_at=None,
        )
        return await self.submit(task, began)

    async def submit(self, task: Task, began: float) -> tuple[Task, bool]:
        """Makes a task durable and begins it, or returns the one whose idempotency key it has."""
        turn = self._admission.admit(task, self.accepted, self._weight + weigh(task))
        writing = asyncio.create_task(self._store.accept(task), name=f"accept:{task.id}")
        self._writing.add(writing)
        try:
            new = await asyncio.shield(writing)
        except asyncio.CancelledError:  # a caller that leaves now cannot take back the write
            writing.add_done_callback(partial(self._begin_without_caller, task, turn, began))
            raise
        except Exception:
            self._admission.forget(turn)
            raise
        finally:
            if writing.done():
                self._writing.discard(writing)
        if not new:
            self._admission.forget(turn)
            assert task.idempotency_key is not None
            known = await self._store.task_by_key(task.tenant, task.idempotency_key)
            assert known is not None
            return self._check_same(known, task.request_digest), False
        self._begin(task, turn, began, cancelled=False)
        return task, True

    async def check_room(self, idempotency_key: str | None, *, tenant: str = "default") -> None:
        """Raises `Overloaded` where the queue is full, whatever the body of a request says, unless its key is known."""
        if self._admission.is_full(self.accepted) and (
            idempotency_key is None or await self._store.task_by_key(tenant, idempotency_key) is None
        ):
            self._admission.check_room(self.accepted)

    async def find_elsewhere(self, task_id: str) -> str | None:
        """The address of another coordinator that carries the task; None where this one does, or nobody."""
        return None

    async def has_more(self, task_id: str) -> bool:
        """Whether more events of the task may come, from whichever process carries it."""
        return task_id in self._live

    def get_live(self, task_id: str) -> Live | None:
        """The task as this process carries it; None once its end is durable, and if it is unknown."""
        return self._live.get(task_id)

    async def get_task(self, task_id: str) -> Task:
        """The task as it is now; raises `NotFound`."""
        if (live := self._live.get(task_id)) is not None:
            return live.task
        task = await self._store.task(task_id)
        if task is None:
            raise NotFound(f"There is no task {task_id!r}.")
        return task

    async def wait_for_end(self, task_id: str) -> Task:
        """Waits until the task has ended and its end is durable."""
        while (live := self._live.get(task_id)) is None:
            if (task := await self.get_task(task_id)).ended:
                return task
            await asyncio.sleep(LOOK_SECONDS)
        await live.ended.wait()
        return live.task

    async def cancel(self, task_id: str) -> Task:
        """Stops a task; raises `NotFound`, or `Conflict` if it has ended otherwise."""
        live = self._live.get(task_id)
        if live is None:
            task = await self.get_task(task_id)
            if task.status is not Status.CANCELLED:
                raise Conflict(f"Task {task_id} has already ended: {task.status}.")
            return task
        if not live.cancelled and not live.ending:
            live.cancelled = True
            if live.carrier is not None and live.begun:  # cancelled before it begins, it would never reach its end
                live.carrier.cancel()
        return live.task

    async def recover(self) -> int:
        """Takes up every open task of the journal, for `resume` to carry; returns how many.

        A task that was at work whenever the coordinator died lately is ended instead of run again.
        """
        tasks = await self._store.open_tasks()
        left, began = await self._deadlines.measure_left(tasks), self._now()
        quarantined = await self._starts.begin(tasks)
        for task in tasks:
            if task.id in quarantined:
                logs.get().error("task.quarantined", task_id=task.id, deaths=MOST_DEATHS)
                task = changed(task, error=quarantine_error(MOST_DEATHS))
            self._take_up(task, self._admission.expect(task), until=began + left[task.id], again=True)
        await self._store.end_cut_off()
        return len(self._live)

    async def resume(self) -> None:
        """Carries the tasks that were taken up, in batches, so that new callers do not wait for thousands."""
        waiting = [live for live in self._live.values() if live.carrier is None]
        for start in range(0, len(waiting), RESUMED_AT_ONCE):
            for live in waiting[start : start + RESUMED_AT_ONCE]:
                self._carry_on(live)
            await asyncio.sleep(0)

    def stop(self) -> None:
        """Accepts no more tasks; those that run continue after a restart."""
        self._closing = True

    async def close(self) -> None:
        """Stops carrying every task, without ending any."""
        self.stop()
        self._runner.stop()
        await asyncio.gather(*self._writing, return_exceptions=True)
        carriers = {live.carrier: live.ending or live.cancelled for live in self._live.values() if live.carrier}
        for carrier in (c for c, ending in carriers.items() if not ending):
            carrier.cancel()
        if ending := [c for c, ending in carriers.items() if ending]:
            await asyncio.wait(ending, timeout=CLOSE_SECONDS)
        await end(carriers)

    # --- one task

    def _begin(self, task: Task, turn: Turn, began: float, *, cancelled: bool) -> None:
        """Has an accepted task carried."""
        live = self._take_up(task, turn, until=began + task.seconds)
        live.cancelled = cancelled
        self._carry_on(live)

    def _take_up(self, task: Task, turn: Turn, *, until: float, again: bool = False) -> Live:
        live = self._live[task.id] = self._conductor.take_up(task, turn, until=until)
        if self._flights is not None:
            live.flight = self._flights.begin(
                task, lambda: live.read_clock(self._now()) - live.task.created_at, taken_up=again
            )
        live.weight = weigh(task)
        self._weight += live.weight
        return live

    def _begin_without_caller(self, task: Task, turn: Turn, began: float, writing: asyncio.Task[bool]) -> None:
        """Carries a task whose caller left during the write: with a key it may come back; without, it is cancelled."""
        self._writing.discard(writing)
        if self._closing or writing.cancelled() or writing.exception() is not None or not writing.result():
            self._admission.forget(turn)
            return
        self._begin(task, turn, began, cancelled=task.idempotency_key is None)

    def _check_same(self, known: Task, digest: str) -> Task:
        if known.request_digest != digest:
            raise KeyReused
        return known

    def _carry_on(self, live: Live) -> None:
        live.carrier = asyncio.create_task(self._carry(live), name=f"task:{live.task.id}")

    async def _carry(self, live: Live) -> None:
        await self._conductor.carry(live)
        if self._live.pop(live.task.id, None) is not None:
            self._weight -= live.weight
        if self._flights is not None:
            self._flights.end(live.task.id)
        self._admission.forget(live.turn)
