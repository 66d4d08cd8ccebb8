"""Bugs that are planted while a simulation runs: each breaks a promise, and the invariants must find it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

from coordinator.admission.admission import Admission
from coordinator.agent_calls import client as agent_calls
from coordinator.agent_pool.pool import Agents
from coordinator.agents.registry import Registry
from coordinator.api import tasks as api_tasks
from coordinator.execution import retry, step_runner, task_runner, waiting
from coordinator.execution.dispatcher import Dispatcher
from coordinator.execution.retry import Retries
from coordinator.execution.task_runner import Conductor
from coordinator.journal import sql, statements
from coordinator.journal.rows import planned
from coordinator.journal.store import Store
from coordinator.observers import webhooks
from coordinator.tasks.task import Status, outcome
from shared import logs
from shared.copying import changed
from shared.limits.ledger import Ledger
from shared.server import edge
from shared.worker.steps import Steps

Plant = Callable[[], AbstractContextManager[Any]]


def _answer_before_it_is_durable() -> AbstractContextManager[Any]:
    async def accept(self: Store, task: Any) -> bool:
        self._post("store.accept", *_statements_of(self, task))
        return True

    return patch.object(Store, "accept", accept)


def _statements_of(store: Store, task: Any) -> Any:
    return (
        *statements.accept(task),
        store._event(task.id, "task.accepted", {"priority": task.priority, "deadline": task.deadline}),
        store._event(task.id, "task.planned", {"steps": planned(task.steps)}),
    )


def _tell_before_it_is_durable() -> AbstractContextManager[Any]:
    write = Store.write

    async def tell_first(self: Store, name: str, *statements: Any) -> bool:
        if name == "store.finish_step":
            self._tell(statements)
            return await self._db.write(name, *statements) is not None
        return await write(self, name, *statements)

    return patch.object(Store, "write", tell_first)


def _forget_open_tasks_at_a_start() -> AbstractContextManager[Any]:
    open_tasks = Store.open_tasks

    async def only_new(self: Store) -> Any:
        return [task for task in await open_tasks(self) if task.started_at is None]

    return patch.object(Store, "open_tasks", only_new)


def _run_ended_steps_again_at_a_start() -> AbstractContextManager[Any]:
    take_up = Conductor.take_up

    def anew(self: Conductor, task: Any, *, until: float) -> Any:
        steps = tuple(changed(s, status=Status.QUEUED) if s.status is Status.COMPLETED else s for s in task.steps)
        return take_up(self, changed(task, steps=steps), until=until)

    fence = sql.FINISH_STEP.replace("AND steps.status IN ('queued', 'running')", "")
    return _both(patch.object(Conductor, "take_up", anew), patch.object(sql, "FINISH_STEP", fence))


def _carry_twice_at_a_start() -> AbstractContextManager[Any]:
    async def resume(self: Dispatcher) -> None:
        for live in list(self._live.values()):
            self._carry_on(live)
            asyncio.create_task(self._conductor.carry(live))  # noqa: RUF006 (it is the bug)

    return patch.object(Dispatcher, "resume", resume)


def _forget_idempotency_keys() -> AbstractContextManager[Any]:
    accept = Dispatcher.accept

    async def without_key(self: Dispatcher, request: Any, **more: Any) -> Any:
        return await accept(self, request, **more | {"idempotency_key": None})

    return patch.object(Dispatcher, "accept", without_key)


def _believe_every_answer() -> AbstractContextManager[Any]:
    check = agent_calls.check

    def believe(result: Any, request: Any) -> Any:
        named = {"task_id": request.task_id, "step_id": request.step_id, "attempt": request.attempt}
        return check(result.model_copy(update=named), request)

    return patch.object(agent_calls, "check", believe)


def _ignore_deadlines() -> AbstractContextManager[Any]:
    take_up = Conductor.take_up

    def later(self: Conductor, task: Any, *, until: float) -> Any:
        return take_up(self, task, until=until + 30.0)

    return patch.object(Conductor, "take_up", later)


def _measure_deadlines_by_the_wall_clock() -> AbstractContextManager[Any]:
    init = Conductor.__init__

    def by_wall(self: Conductor, **parts: Any) -> None:
        offset = parts["now"]() - time.time()
        init(self, **parts | {"now": lambda: time.time() + offset})

    return patch.object(Conductor, "__init__", by_wall)


def _measure_leases_by_the_wall_clock() -> AbstractContextManager[Any]:
    init = Registry.__init__

    def by_wall(self: Registry, **parts: Any) -> None:
        offset = parts["now"]() - time.time()
        init(self, **parts | {"now": lambda: time.time() + offset})

    return patch.object(Registry, "__init__", by_wall)


def _let_callers_wait_on() -> AbstractContextManager[Any]:
    def forever(self: Any, task: Any) -> float:
        return 3_600.0

    async def write_later(write: Any) -> bool:
        await asyncio.sleep(20.0)
        return bool(await write())

    return _both(
        patch.object(waiting.Waiter, "_compute_limit", forever), patch.object(task_runner, "write_durably", write_later)
    )


def _ignore_leases() -> AbstractContextManager[Any]:
    return _both(
        patch.object(Registry, "expire_leases", lambda self: []),
        patch.object(Agents, "_cut_silent_calls", lambda self: None),
    )


def _run_on_after_a_cancel() -> AbstractContextManager[Any]:
    async def only_flag(self: Dispatcher, task_id: str) -> Any:
        live = self._live.get(task_id)
        if live is None:
            return await self.get_task(task_id)
        live.cancelled = True
        return live.task

    return patch.object(Dispatcher, "cancel", only_flag)


def _retry_for_ever() -> AbstractContextManager[Any]:
    return patch.object(retry, "MAX_ATTEMPTS", 50)


def _retry_what_must_not_be() -> AbstractContextManager[Any]:
    choose = Retries.choose_pause

    def always(self: Retries, failure: Any, **more: Any) -> float | None:
        failure.retryable = True
        return choose(self, failure, **more)

    return patch.object(Retries, "choose_pause", always)


def _ignore_budgets() -> AbstractContextManager[Any]:
    def reserve(self: Ledger, *, sharers: int, later: int = 0, **_: Any) -> Any:
        return self, 0 if self.max_calls is None else 1_000, 0 if self.max_tokens is None else 1_000

    return patch.object(Ledger, "reserve", reserve)


def _run_completed_steps_again() -> AbstractContextManager[Any]:
    return patch.object(Steps, "replay", lambda self, request: None)


def _call_a_failure_a_success() -> AbstractContextManager[Any]:
    class NoStatus:
        FAILED = TIMED_OUT = None

    return patch.object(api_tasks, "Status", NoStatus)


def _leave_failures_unexplained() -> AbstractContextManager[Any]:
    to_error = step_runner._to_error
    return patch.object(step_runner, "_to_error", lambda failure: to_error(failure).model_copy(update={"detail": ""}))


def _call_webhooks_sent_unsent() -> AbstractContextManager[Any]:
    async def post(*_: Any) -> Any:
        return None, False

    return patch.object(webhooks, "post", post)


def _log_keys() -> AbstractContextManager[Any]:
    call = edge.Edge.__call__

    async def tell(self: Any, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/execute_task":
            logs.get().warning("request.headers", headers=str(scope["headers"]))
        await call(self, scope, receive, send)

    return patch.object(edge.Edge, "__call__", tell)


def _keep_places_of_ended_tasks() -> AbstractContextManager[Any]:
    leave = Admission.leave

    def sometimes(self: Admission) -> None:
        if len(self._ends) % 3:
            leave(self)
        else:
            self._ends.append(math.inf)

    return patch.object(Admission, "leave", sometimes)


def _end_tasks_before_their_steps() -> AbstractContextManager[Any]:
    async def end(self: Conductor, live: Any) -> None:
        status = Status.CANCELLED if live.cancelled else outcome(live.task)
        live.ending = True
        if not live.task.ended:
            live.task = changed(live.task, status=status, finished_at=live.read_clock(self._now()))
            await self._store.finish_task(live.task)
        live.ended.set()

    return patch.object(Conductor, "_end", end)


def _never_release_agents() -> AbstractContextManager[Any]:
    return patch.object(Registry, "record_end", lambda self, instance, **_: None)


def _leave_asyncio_tasks_behind() -> AbstractContextManager[Any]:
    run = step_runner.Runner.run

    async def run_on(self: Any, *args: Any, **more: Any) -> Any:
        asyncio.create_task(asyncio.sleep(3_600.0), name="left-behind")  # noqa: RUF006 (it is the bug)
        return await run(self, *args, **more)

    return patch.object(step_runner.Runner, "run", run_on)


def _both(*patches: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
    stack = ExitStack()
    for one in patches:
        stack.enter_context(one)
    return stack


BUGS: dict[str, Plant] = {
    plant.__name__.strip("_"): plant
    for plant in (
        _answer_before_it_is_durable,
        _tell_before_it_is_durable,
        _forget_open_tasks_at_a_start,
        _run_ended_steps_again_at_a_start,
        _carry_twice_at_a_start,
        _forget_idempotency_keys,
        _believe_every_answer,
        _ignore_deadlines,
        _measure_deadlines_by_the_wall_clock,
        _measure_leases_by_the_wall_clock,
        _let_callers_wait_on,
        _ignore_leases,
        _run_on_after_a_cancel,
        _retry_for_ever,
        _retry_what_must_not_be,
        _ignore_budgets,
        _run_completed_steps_again,
        _call_a_failure_a_success,
        _leave_failures_unexplained,
        _call_webhooks_sent_unsent,
        _log_keys,
        _keep_places_of_ended_tasks,
        _end_tasks_before_their_steps,
        _never_release_agents,
        _leave_asyncio_tasks_behind,
    )
}
