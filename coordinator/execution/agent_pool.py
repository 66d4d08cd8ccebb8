"""The registry in use: durable registrations, probes, expired leases, and waiting for a free agent."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from coordinator.agent_calls.client import WorkerClient
from coordinator.agents.registry import BreakerState, Instance, Registry
from coordinator.journal.store import Store
from coordinator.tasks.task import Step
from shared.background import Background
from shared.contracts import AgentStatus, Registration
from shared.errors import AgentLost, NoAgent, NotFound, StepTimeout

LAPSE_SECONDS = 1.0  # between two looks at the leases
PROBES_AT_ONCE = 32
PATIENCE_SECONDS = 10.0  # for agents that are known but away
FIRST_PROBES = (0.0, 0.1, 0.3, 0.6)  # pauses: a worker registers a moment before it listens


def id_of(registration: Registration) -> str:
    """The same process at the same endpoint has the same id, also after a restart."""
    who = "|".join((registration.name, registration.instance or "", registration.endpoint))
    return f"{registration.name}-{hashlib.sha256(who.encode()).hexdigest()[:10]}"


class Agents:
    """Everything about agents that needs a clock, the journal or the network."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        client: WorkerClient,
        background: Background,
        *,
        probe_seconds: float,
        now: Callable[[], float],
    ) -> None:
        self.registry = registry
        self._store = store
        self._client = client
        self._background = background
        self._probe_seconds = probe_seconds
        self._now = now
        self._changed = asyncio.Event()
        self._calls: defaultdict[str, set[asyncio.Timeout]] = defaultdict(set)
        self._probing: set[str] = set()
        self._saved: dict[str, Registration] = {}  # as the journal has them

    async def load(self) -> None:
        """Takes the agents from the journal; each is probed at once."""
        for agent_id, registration, present in await self._store.agents():
            self.registry.remember(registration)
            if present:
                self._saved[agent_id] = registration
                self.registry.register(agent_id, registration.model_copy(update={"draining": False}))
                self._probe_soon(agent_id)

    def start(self) -> None:
        self._background.loop("agent-probes", self._probe_all)
        self._background.loop("agent-leases", self._watch_leases)

    async def register(self, registration: Registration) -> tuple[Instance, bool]:
        """Adds an agent or takes its heartbeat; says whether it is new."""
        agent_id = id_of(registration)
        known = self.registry.get(agent_id)
        was = known.status if known else None
        instance, new = self.registry.register(agent_id, registration)
        if self._saved.get(agent_id) != registration:
            await self._store.save_agent(agent_id, registration)
            self._saved[agent_id] = registration
        if instance.status in (AgentStatus.PENDING, AgentStatus.UNREACHABLE):
            self._probe_soon(agent_id)
        if instance.status is not was:
            self._tell(instance)
        return instance, new

    def remove(self, agent_id: str) -> Instance:
        """Withdraws an agent; raises `NotFound`. Its running steps go on."""
        instance = self.registry.remove(agent_id)
        if instance is None:
            raise NotFound(f"There is no agent with id {agent_id!r}.")
        self._forget(agent_id)
        self._store.note(None, "agent.status", {"agent_id": agent_id, "name": instance.name, "status": "removed"})
        self.changed()
        return instance

    async def take(self, step: Step, *, tried: Collection[str], until: float, since: float) -> Instance:
        """The best instance for a step, its load already counted.

        Waits while agents are full until the step's end; while they are only known, pending or unreachable for the
        smaller of 10 s and half the time left. Raises `NoAgent`, at once if no such agent ever registered, and
        `StepTimeout`.
        """
        patience = min(PATIENCE_SECONDS, (until - since) / 2)
        while True:
            instance = self.registry.choose(capability=step.capability, agent=step.agent, avoid=tried)
            if instance is not None:
                self.registry.began(instance)
                return instance
            if not self.registry.known(capability=step.capability, agent=step.agent):
                raise NoAgent(f"No agent has ever registered for {step.target}.")
            full = self._only_full(step)
            left = (until if full else since + patience) - self._now()
            if left <= 0 and full:
                raise StepTimeout(f"Every agent for {step.target} stayed busy until the step timed out.")
            if left <= 0:
                raise NoAgent(f"No agent for {step.target} within {patience:.1f} s: {self._why_none(step)}.")
            await self._wait(left)

    def release(self, instance: Instance, *, seconds: float, error: str | None, blame: bool) -> None:
        """A call has ended; `error` says how if it did not go well."""
        was_full = not self.registry.has_room(instance)
        self.registry.ended(instance, seconds=seconds, error=error, blame=blame)
        if was_full or error is not None:
            self.changed()

    def cancel(self, instance: Instance, task_id: str, step_id: str, attempt: int) -> None:
        """Tells an agent, without waiting, that a step's result is no longer needed."""
        self._background.once(f"cancel:{task_id}:{step_id}", self._client.cancel(instance, task_id, step_id, attempt))

    @asynccontextmanager
    async def call(self, instance: Instance, *, seconds: float | None) -> AsyncIterator[None]:
        """Raises `AgentLost` at once when the instance falls silent, and `TimeoutError` after so many seconds.

        None is for what keeps its time by itself.
        """
        try:
            async with asyncio.timeout(seconds) as limit:
                self._calls[instance.id].add(limit)
                try:
                    yield
                finally:
                    self._calls[instance.id].discard(limit)
                    if not self._calls[instance.id]:
                        del self._calls[instance.id]
        except TimeoutError as exc:
            if instance.status is AgentStatus.UNREACHABLE:
                raise AgentLost(f"The agent went silent during the step: {instance.last_error}.") from exc
            raise

    def suspect(self, instance: Instance, error: str) -> None:
        """A call did not get through: the instance is left alone until a probe, made at once, has got through."""
        self.registry.suspect(instance, error)
        self._tell(instance)
        self._probe_soon(instance.id)

    def breaker(self, instance: Instance) -> BreakerState:
        return instance.breaker(self._now())

    def changed(self) -> None:
        """Wakes every step that waits for an agent."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, 1.0)):  # an open breaker closes without anybody telling
                await self._changed.wait()
        except TimeoutError:
            return

    def _only_full(self, step: Step) -> bool:
        able = self.registry.matching(capability=step.capability, agent=step.agent)
        return any(i.status is AgentStatus.HEALTHY and i.breaker(self._now()) == "closed" for i in able)

    def _why_none(self, step: Step) -> str:
        able = self.registry.matching(capability=step.capability, agent=step.agent)
        said = [
            f"{i.id} is {i.status}" + (f" ({i.last_error.rstrip('.')})" if i.last_error else "")
            if i.status is not AgentStatus.HEALTHY
            else f"{i.id} failed {i.failures} times in a row"
            for i in able
        ]
        return "; ".join(said[:3]) or "all of them have deregistered"

    def _tell(self, instance: Instance) -> None:
        data = {"agent_id": instance.id, "name": instance.name, "status": instance.status, "why": instance.last_error}
        self._store.note(None, "agent.status", data)
        self.changed()

    def _probe_soon(self, agent_id: str) -> None:
        if agent_id not in self._probing:
            self._probing.add(agent_id)
            self._background.once(f"probe:{agent_id}", self._probe_first(agent_id))

    async def _probe_first(self, agent_id: str) -> None:
        try:
            for pause in FIRST_PROBES:
                await asyncio.sleep(pause)
                instance = self.registry.get(agent_id)
                if instance is None or await self._probe(instance):
                    return
        finally:
            self._probing.discard(agent_id)

    async def _probe_all(self) -> None:
        places = asyncio.Semaphore(PROBES_AT_ONCE)

        async def one(instance: Instance) -> None:
            async with places:
                await self._probe(instance)

        while True:
            await asyncio.sleep(self._probe_seconds)
            await asyncio.gather(*(one(i) for i in self.registry.all()))

    async def _probe(self, instance: Instance) -> bool:
        error = await self._client.probe(instance)
        if self.registry.probed(instance.id, error):
            self._tell(instance)
        return error is None

    async def _watch_leases(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + LAPSE_SECONDS
            await asyncio.sleep(LAPSE_SECONDS)
            self.registry.paused(max(0.0, clock() - due))
            for instance in self.registry.lapsed():
                self._tell(instance)
                for limit in tuple(self._calls.get(instance.id, ())):
                    if not limit.expired():
                        limit.reschedule(0)
            for agent_id in self._saved.keys() - {i.id for i in self.registry.all()}:
                self._forget(agent_id)  # silent for too long, or replaced

    def _forget(self, agent_id: str) -> None:
        self._saved.pop(agent_id, None)
        self._store.remove_agent(agent_id)
