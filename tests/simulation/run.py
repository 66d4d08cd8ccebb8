"""Runs one seed: a suite, its callers and its faults, for ten virtual minutes; then says which invariants broke."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog
from fastapi import routing
from fastapi.dependencies import models

import coordinator.app
import shared.worker.app
from coordinator.access.claims import operator_proof
from coordinator.access.sessions import COOKIE
from coordinator.fleet import opening
from coordinator.journal.events import Events, TaskEvent
from shared.agent import Agent
from shared.contracts import SECRET
from shared.protocols.openai import routes as openai
from tests.simulation.agents import Behaviour, make_agent, make_asker, make_liar, make_receiver
from tests.simulation.callers import Callers
from tests.simulation.faults import Faults
from tests.simulation.invariants import Committed, Evidence, find_broken
from tests.simulation.limits import alarm, alone
from tests.simulation.planted import BUGS
from tests.simulation.points import find_points
from tests.simulation.witness import Witness, find_leaks, list_passing
from tests.simulation.world.determinism import determined
from tests.simulation.world.history import Recording
from tests.simulation.world.journal import SimulatedSqlite
from tests.simulation.world.process import Killed, current
from tests.simulation.world.suite import API_KEY, WORKER_KEY, SimulatedSuite
from tests.simulation.world.virtual_time import Hung, VirtualLoop

SECONDS = 600.0
TASKS = 104
FAULTS = 24
VIRTUAL_SECONDS = 3_000.0  # limits of one seed
REAL_SECONDS = 120.0
PROBE_SECONDS = 15.0  # between two probes of an agent: three times the default, for they cost time
REMOVED_SHARE = 0.1
CLOSES = 50
PASSING_SECONDS = 15.0  # the longest that a probe, a canary or a last call takes
LAST_SECONDS = 120.0  # for a task whose caller was cut off: twice the longest
LOOKED_AT = 5  # every fifth seed also looks at the pages, which take time to render
SHOWN = (
    *("/metrics", "/agents", "/tasks", "/stats", "/audit"),
    *("/console/", "/console/tasks", "/console/agents", "/console/numbers", "/console/health"),
)
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Own:
    """An agent of a user, and the plan of the tasks that it gets."""

    agent: Agent
    plan: tuple[dict[str, Any], ...]
    replicas: int


@dataclass
class Outcome:
    """How a seed went; `broken` says which invariants did not hold."""

    seed: int
    broken: list[str]
    recording: Recording
    tasks: int
    virtual_seconds: float


def simulate(
    seed: int,
    *,
    bug: str | None = None,
    own: Own | None = None,
    tasks: int = TASKS,
    faults: int = FAULTS,
    seconds: float = SECONDS,
    real_seconds: float = REAL_SECONDS,
) -> Outcome:
    """One seed from its start to the check of its history.

    With `bug`, the one of that name is planted; with `own`, half of the tasks are for a user's agent. Raises
    RuntimeError while another simulation runs in this process.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"simulation-{seed}-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
    try:
        with alone(), _without_collector():
            return _Seed(seed, folder, own, real_seconds).run(bug, tasks, faults, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Seed:
    def __init__(self, seed: int, folder: Path, own: Own | None, real_seconds: float) -> None:
        self._own = own
        self._real_seconds = real_seconds
        self._seed = seed
        self._folder = folder
        self._loop = VirtualLoop(virtual_seconds=VIRTUAL_SECONDS, real_seconds=real_seconds)
        self._recording = Recording(self._loop.time)
        self._committed: list[Committed] = []
        self._logged: list[str] = []
        self._witness = Witness(self._loop.time)
        self._loop.set_exception_handler(self._note_loss)

    def run(self, bug: str | None, tasks: int, faults: int, seconds: float) -> Outcome:
        broken: list[str] = []
        planted = BUGS[bug] if bug is not None else nullcontext
        modules = (self._own.agent.run.__module__,) if self._own is not None else ()
        determinism = determined(self._seed, self._loop, modules)
        with determinism as clocks, self._patched(), planted():
            try:
                with alarm(self._real_seconds, self._loop.ring):
                    evidence = self._loop.run_until_complete(self._play(clocks, tasks, faults, seconds))
                broken = find_broken(evidence)
            except Hung as hung:
                broken = [str(hung)]
            finally:
                self._recording.close()
                self._dissolve()
        return Outcome(self._seed, broken, self._recording, tasks, self._loop.seconds)

    async def _play(self, clocks: Any, tasks: int, faults: int, seconds: float) -> Evidence:
        suite = SimulatedSuite(
            seed=self._seed,
            folder=self._folder,
            recording=self._recording,
            clocks=clocks,
            settings={"health_check_interval": PROBE_SECONDS},
        )
        witness = self._witness
        behaviour = Behaviour(suite.make_random("behaviour"), witness)
        suite.add_coordinator()
        for number in (1, 2):
            host = f"researcher-{number}"
            suite.add_agent(make_agent("researcher", ("research",), behaviour, host=host), host)
        suite.add_agent(make_agent("analyst", ("analyze", "report", "help", "luck"), behaviour))
        suite.add_agent(make_asker(behaviour, suite.wire(), key=WORKER_KEY))
        if self._own is not None:
            for number in range(self._own.replicas):
                suite.add_agent(self._own.agent, f"{self._own.agent.name}-{number}")
        suite.add("liar", lambda _: make_liar(suite.make_random("liar"), witness))
        suite.add("receiver", lambda _: make_receiver(witness))
        suite.network.arrived.append(witness.see_call)
        suite.network.answered.append(witness.see_answer)
        callers = Callers(suite, suite.make_random("callers"), self._own.plan if self._own is not None else ())
        breaking = Faults(suite, behaviour, suite.make_random("faults"), find_points())
        async with suite:
            registering = asyncio.create_task(_register_liar(callers, suite))
            watching = asyncio.create_task(witness.watch(suite.network, lambda: suite.coordinator.up_since))
            playing = asyncio.create_task(breaking.run(count=faults, seconds=seconds - 60.0))
            await callers.run(tasks=tasks, seconds=seconds - 30.0)
            await playing
            registering.cancel()
            watching.cancel()
            if (left := seconds - self._loop.time() - PASSING_SECONDS) > 0:
                await asyncio.sleep(left)
            await suite.coordinator.up.wait()
            witness.wrong += await _look_at_the_end(callers, suite)
        return Evidence(
            calls=callers.calls,
            committed=self._committed,
            journal=suite.journal,
            outages=suite.coordinator.outages[1:],
            jumped=breaking.jumped,
            secrets=(API_KEY, WORKER_KEY),
            told=self._logged,
            witness=witness,
            refusals=suite.coordinator.refusals,
            disk_trouble=breaking.disk_trouble,
        )

    @contextmanager
    def _patched(self) -> Iterator[None]:
        publish: Callable[[Events, TaskEvent], None] = Events.publish

        def record(events: Events, event: TaskEvent) -> None:
            process = current()
            self._committed.append(
                Committed(self._loop.time(), process.life, event.id, event.task_id, event.type, dict(event.fields))
            )
            if event.type == "agent.status":
                self._witness.see_event(event.fields)
            self._recording.note("event", id=event.id, task=event.task_id, type=event.type, data=event.fields)
            publish(events, event)

        def log(_: Any, method: str, event: dict[str, Any]) -> str:
            line = f"{method} {event}"
            self._logged.append(line)
            raise structlog.DropEvent

        kept = structlog.get_config()
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info, log],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=False,
        )
        try:
            with (
                patch.object(Events, "publish", record),
                patch.object(opening, "Sqlite", SimulatedSqlite),
                patch.object(coordinator.app, "FACADES", (openai.mount,)),  # building the others takes time
                patch.object(shared.worker.app, "FACADES", ()),
            ):
                yield
        finally:
            structlog.configure(**kept)

    def _note_loss(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody has taken."""
        if not isinstance(context.get("exception"), Killed):
            self._recording.note("loop", message=context["message"], why=type(context.get("exception")).__name__)

    def _dissolve(self) -> None:
        """Takes the seed's tasks apart; what they do meanwhile touches nothing but themselves."""
        self._loop.set_exception_handler(lambda *_: None)
        with patch.object(sys, "unraisablehook", lambda _: None), warnings.catch_warnings(action="ignore"):
            for task in sorted(asyncio.all_tasks(self._loop), key=hash):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                for _ in range(CLOSES):  # each close runs it as far as its next await
                    with suppress(BaseException):
                        task.get_coro().close()  # type: ignore[union-attr]
                        break
            self._loop.close()
            _forget_endpoints()
            gc.collect()


async def _look_at_the_end(callers: Callers, suite: SimulatedSuite) -> list[str]:
    """I6 and I10: what the coordinator still holds when no task is open, and what it shows of itself."""
    process, services = suite.coordinator.process, suite.coordinator.app.get_opened()
    if services.dispatcher.open_tasks:  # of callers that were cut off and do not know of it
        await asyncio.sleep(LAST_SECONDS)
    passing = list_passing(process)
    if suite.seed % LOOKED_AT == 0:
        cookie = {"Cookie": f"{COOKIE}={services.sessions.begin(API_KEY)}"}
        for path in SHOWN:
            await callers.send("GET", path, None, cookie, seconds=5.0)
    await asyncio.sleep(PASSING_SECONDS)
    stuck = sorted(task.get_name() for task in passing & list_passing(process))
    held = [f"I6: no task is open, and the coordinator still runs {', '.join(stuck)}"] if stuck else []
    return [*held, *find_leaks(services), *callers.wrong]


async def _register_liar(callers: Callers, suite: SimulatedSuite) -> None:
    """As a person does by hand, again and again; now and then the operator takes an agent off the list."""
    body = {"name": "liar", "endpoint": "http://liar", "capabilities": ["lie"]}
    random = suite.make_random("operator")
    while True:
        if suite.coordinator.app is not None and random.random() < REMOVED_SHARE:
            services = suite.coordinator.app.get_opened()
            if known := services.agents.registry.list_all():
                gone = random.choice(known).id
                proof = operator_proof(services.secret, gone)
                await callers.send("DELETE", f"/agents/{gone}", None, {SECRET: proof}, seconds=5.0)
        await callers.send("POST", "/register_agent", body, {}, seconds=5.0)
        await asyncio.sleep(20.0)


def _forget_endpoints() -> None:
    """FastAPI keeps thousands of the functions that it has looked at, and each holds all of a seed."""
    for known in vars(models).values():
        if hasattr(known, "cache_clear"):
            known.cache_clear()
    routing._endpoint_context_cache.clear()


@contextmanager
def _without_collector() -> Iterator[None]:
    """Nothing is collected while a seed runs: a finalizer at a moment that depends on memory would change it.

    To be entered before anything of the seed is made, for what is frozen is never collected.
    """
    gc.disable()
    if not gc.get_freeze_count():  # what was imported: looking through it takes longer than through a seed
        gc.collect()
        gc.freeze()
    try:
        yield
    finally:
        gc.enable()
