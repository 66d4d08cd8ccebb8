"""Replays a recorded task: the real coordinator and the workers' real code, on virtual time, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import structlog
from pydantic import JsonValue

from coordinator.api.dependencies import Services
from coordinator.app import create_app
from coordinator.recording.export import FORMAT, plan_anew, read_task
from coordinator.replay.differences import Difference, as_json, strip_times
from coordinator.replay.flight import PlayedFlight
from coordinator.replay.kept_journal import KeptJournal
from coordinator.replay.network import ReplayNetwork
from coordinator.replay.timetable import Key, Timetable, wait_until
from coordinator.replay.virtual_time import Hung, VirtualLoop
from coordinator.replay.workers import Workers
from coordinator.reports.document import report
from coordinator.tasks.lane import NO_LANE
from coordinator.tasks.plan import PLANNING, plan
from coordinator.tasks.task import Step, Task, missing
from shared.agent import Agent
from shared.contracts import AgentStatus, Registration, TaskRequest
from shared.errors import BadInput, Conflict, MusterError
from shared.limits.envelope import derive_key
from shared.settings import CoordinatorSettings
from shared.version import VERSION

REAL_SECONDS = 120.0  # that a replay may take
SPARE_SECONDS = 600.0  # of virtual time, beyond the task's own


@dataclass
class Replayed:
    """How a replay went: the task as it ended, its events, and where it diverged."""

    recorded: Task
    task: Task
    events: list[tuple[str, dict[str, Any]]]
    differences: list[Difference] = field(default_factory=list)

    def list_missing(self) -> list[str]:
        """What the replayed task lacks, each as a sentence."""
        return [f"{lost.what}: {lost.why}" for lost in missing(self.task)]

    def write_report(self) -> str:
        """The replayed task's report, in Markdown."""
        return report(self.task, "markdown")

    def describe(self) -> dict[str, Any]:
        """All of it as JSON."""
        differences = [as_json(vars(one)) for one in self.differences]
        return {"task": _shorten(self.task), "missing": self.list_missing(), "differences": differences}


def replay(
    recording: Mapping[str, Any],
    *,
    agents: Mapping[str, Agent] | None = None,
    from_step: str | None = None,
    answer: JsonValue = None,
) -> Replayed:
    """Runs a recorded task again; with `from_step`, that step has `answer`, and what needs it runs on from there.

    `agents` are run by their names whatever the record says of them. Raises `BadInput` for what is no recording, and
    for a step that is not in it.
    """
    played = _Replay(recording, agents or {}, from_step, answer)
    loop = VirtualLoop(virtual_seconds=played.seconds + SPARE_SECONDS, real_seconds=REAL_SECONDS)
    kept = structlog.get_config()
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)
    try:
        return loop.run_until_complete(played.run(loop))
    finally:
        structlog.configure(**kept)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        with suppress(Exception, Hung):
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class _Replay:
    def __init__(
        self, recording: Mapping[str, Any], agents: Mapping[str, Agent], from_step: str | None, answer: JsonValue
    ) -> None:
        if recording.get("format") != FORMAT:
            raise BadInput("This is no recording of a task, or one in a format that this version does not know.")
        try:
            self._recorded = read_task(recording["task"])
            self._events, self._entries = list(recording["events"]), list(recording["entries"])
            self._registered: dict[str, dict[str, Any]] = dict(recording["agents"])
            self._timetable = Timetable(self._recorded.created_at, self._events, self._entries)
        except (KeyError, TypeError, ValueError) as exc:
            raise BadInput(f"The recording cannot be read: {type(exc).__name__}: {exc}.") from exc
        if not self._recorded.ended:
            raise Conflict("The task has not ended; it can be replayed when it has.")
        free: frozenset[str] = frozenset()
        if from_step is not None:
            free = _find_users(self._recorded, from_step)
        self._agents = agents
        self._differences: list[Difference] = []
        self._is_free = from_step is not None
        self._flight = PlayedFlight(
            self._recorded,
            self._events,
            self._entries,
            timetable=self._timetable,
            tell=self._differences.append,
            free=free,
            answers={} if from_step is None else {from_step: answer},
        )
        self.seconds = self._recorded.seconds

    async def run(self, loop: VirtualLoop) -> Replayed:
        network, journal = ReplayNetwork(), KeptJournal()
        ends = [key for _, key in self._timetable.list_all("restart")]
        task: Task | None = None
        events: list[tuple[str, dict[str, Any]]] = []
        for life, restart in enumerate([*ends, None]):
            async with AsyncExitStack() as stack:
                services = await self._open(stack, loop, network, journal)
                if life == 0:
                    if self._recorded.started_at is None:  # others held the places, to its end
                        services.admission.try_enter(services.admission.places.make_seat(NO_LANE, 9), [(None, None)])
                    await services.dispatcher.submit(self._make_task(), services.now())
                driving = asyncio.create_task(self._drive(services))
                try:
                    task = await self._wait(services, restart)
                finally:
                    driving.cancel()
                    journal.killed = restart is not None and task is None
                if task is not None:
                    events = await self._read_events(services)
            journal.killed = False
            if task is not None:
                break
            if restart is not None:
                await wait_until(restart[1])
        assert task is not None
        self._compare(task, events)
        return Replayed(self._recorded, task, events, self._differences)

    async def _open(
        self, stack: AsyncExitStack, loop: VirtualLoop, network: ReplayNetwork, journal: KeptJournal
    ) -> Services:
        settings = CoordinatorSettings(
            _env_file=None,
            database_url="memory:",
            memory_enabled=False,
            max_concurrent_tasks=1 if self._recorded.started_at is None else 64,
            private_webhooks=True,
            api_key=None,
            worker_key=None,
            keys_file=None,
            public_url=None,
            planner="rules",
            backup_every=None,
            record=False,
        )
        created_at = self._recorded.created_at
        app = create_app(
            settings,
            inner=network,
            now=loop.time,
            wall=lambda: created_at + loop.time(),
            boot=lambda: None,
            random=Random(0),
            flights=self._flight,
            database=journal,
            facades=(),
        )
        await stack.enter_async_context(app.router.lifespan_context(app))
        network.app = app
        services = app.get_opened()
        registry = services.agents.registry
        for agent_id, told in self._registered.items():
            registration = Registration(endpoint=f"http://{agent_id}", **told)
            registry.register(agent_id, registration)
            registry.record_probe(agent_id, None)
            assert registry.list_all()[0].status is AgentStatus.HEALTHY
        self._flight.registry = registry
        self._flight.delegate = services.delegations.run

        def key_of(agent_id: str) -> bytes:
            return derive_key(services.secret, agent_id)

        self._flight.workers = Workers(stack, given=self._agents, inner=network, key_of=key_of, now=loop.time)
        return services

    def _make_task(self) -> Task:
        """The task as it was accepted, planned again where the coordinator had planned it."""
        recorded = self._recorded
        taken = recorded.rerun.taken if recorded.rerun is not None else {}
        steps = tuple(step if step.id in taken else plan_anew(step) for step in recorded.steps)
        if recorded.rerun is None and (asked := _find_request(recorded, self._events)) is not None:
            planned = plan(asked, known_agents={told["name"] for told in self._registered.values()})
            if any(step.is_planning for step in steps):
                planned = (Step(id=PLANNING), *planned)
            elif planned != steps:
                self._differences.append(Difference("the plan", "other steps", as_json(steps), as_json(planned)))
            steps = planned
        return Task(
            id=recorded.id,
            description=recorded.description,
            created_at=recorded.created_at,
            deadline=recorded.deadline,
            steps=steps,
            context=recorded.context,
            priority=recorded.priority,
            format=recorded.format,
            max_calls=recorded.max_calls,
            max_tokens=recorded.max_tokens,
            webhook_url=recorded.webhook_url,
            rerun=recorded.rerun,
        )

    async def _drive(self, services: Services) -> None:
        """What came from outside, at its moment: cancellations."""
        for _, key in self._timetable.list_all("cancel"):
            await self._timetable.wait(*key)
            with suppress(MusterError):
                await services.dispatcher.cancel(self._recorded.id)

    async def _wait(self, services: Services, restart: Key | None) -> Task | None:
        """The task as it ended; None where the coordinator is killed before."""
        ending = asyncio.create_task(services.dispatcher.wait_for_end(self._recorded.id))
        if restart is None:
            return await ending
        killing = asyncio.create_task(self._timetable.wait_before(restart))
        await asyncio.wait({ending, killing}, return_when=asyncio.FIRST_COMPLETED)
        killing.cancel()
        if ending.done():
            return ending.result()
        ending.cancel()
        return None

    async def _read_events(self, services: Services) -> list[tuple[str, dict[str, Any]]]:
        found: list[tuple[str, dict[str, Any]]] = []
        last = 0
        while page := await services.store.events(self._recorded.id, after=last):
            found += [(event.type, event.fields) for event in page]
            last = page[-1].id
        return found

    def _compare(self, task: Task, events: list[tuple[str, dict[str, Any]]]) -> None:
        """Adds what is different at the end, unless it was to be."""
        if self._is_free:
            return
        before = [(event["type"], event["data"]) for event in self._events]
        for what, sides in {
            "other events, or in another order": (_list_events(before), _list_events(events)),
            "another result": (_shorten(self._recorded), _shorten(task)),
            "another report": (report(self._recorded, "markdown"), report(task, "markdown")),
        }.items():
            if sides[0] != sides[1]:
                self._differences.append(Difference("the task", what, *sides))


def _find_users(task: Task, step_id: str) -> frozenset[str]:
    """The step and all that need it; raises `BadInput` for one that is none."""
    if step_id not in task.places:
        raise BadInput(f"There is no step {step_id!r}. There are: {', '.join(task.places)}.")
    found = {step_id}
    while more := {s.id for s in task.steps if s.id not in found and found & set(s.needs)}:
        found |= more
    return frozenset(found)


def _find_request(task: Task, events: list[dict[str, Any]]) -> TaskRequest | None:
    """What the coordinator had planned by itself; None where the caller had given the plan."""
    first: list[dict[str, Any]] = next((e["data"]["steps"] for e in events if e["type"] == "task.planned"), [])
    by_model = any(step["id"] == PLANNING and step["capability"] is None for step in first)
    if not by_model and not any(step.latest < 1 or step.needs_any for step in task.steps):
        return None
    agents = [step["agent"] for step in first if step["agent"] is not None] or None
    return TaskRequest.model_construct(
        task_description=task.description, context=task.context, format=task.format, agents=agents, plan=None
    )


def _list_events(events: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    ended = next((n for n, (type, _) in enumerate(events, 1) if type == "task.finished"), len(events))
    return [as_json(strip_times(*event)) for event in events[:ended]]


def _shorten(task: Task) -> Any:
    steps = [
        {
            name: getattr(step, name)
            for name in ("id", "status", "attempt", "instance", "answered_by", "output", "usage", "missing", "error")
        }
        for step in task.steps
    ]
    return as_json({"status": task.status, "error": task.error, "steps": steps})


def choose_answer(recording: Mapping[str, Any], step_id: str | None, answer: JsonValue) -> JsonValue:
    """The answer that a step is given: the one that is said, else the recorded one."""
    if answer is not None or step_id is None:
        return answer
    found: JsonValue = next((s["output"] for s in recording["task"]["steps"] if s["id"] == step_id), None)
    return found


def _drop(logger: Any, method: str, event: Any) -> Any:
    raise structlog.DropEvent


def check_version(recording: Mapping[str, Any]) -> str | None:
    """A sentence where the recording is of another version than this code."""
    version = recording.get("version")
    return None if version == VERSION else f"The recording is of version {version}, and this is {VERSION}."
