"""Agents at work: durable registrations, probes, expired leases, and waiting for a free agent."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from itertools import count

from coordinator.access.caller import Caller
from coordinator.access.claims import Claim
from coordinator.agent_calls.client import WorkerClient
from coordinator.agent_pool.holders import Holders
from coordinator.agent_pool.records import AgentRecord, AgentRecords, make_id
from coordinator.agents.instance import BreakerState, Instance
from coordinator.agents.registry import Registry
from coordinator.agents.rounds import list_due
from coordinator.journal.store import Store
from coordinator.tasks.task import Step
from shared.background import Background
from shared.contracts import AgentStatus, Registration
from shared.errors import AgentLost, CallNotSent, Forbidden, NoAgent, NotFound, StepTimeout

LAPSE_SECONDS = 1.0  # between two checks of the leases
PROBES_AT_ONCE = 32
PATIENCE_SECONDS = 10.0  # waiting for agents that are known but away
FIRST_PROBES = (0.0, 0.1, 0.3, 0.6)  # pauses before each: a worker registers a moment before it listens


class Agents:
    """The registry, joined to the clock, the journal and the network."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        client: WorkerClient,
        background: Background,
        *,
        records: AgentRecords,
        holders: Holders,
        probe_seconds: float,
        now: Callable[[], float],
    ) -> None:
        self.registry = registry
        self._store = store
        self._client = client
        self._background = background
        self._records = records
        self._holders = holders
        self._probe_seconds = probe_seconds
        self._now = now
        self._changed = asyncio.Event()
        self._calls: defaultdict[str, set[asyncio.Timeout]] = defaultdict(set)
        self._probing: set[str] = set()
        self._saved: dict[str, Registration] = {}  # as the journal has them
        self.heard: Callable[[str], None] = lambda agent_id: None  # gets the id of every agent that sends a heartbeat
        self.held: Callable[[str, bool], None] = lambda agent_id, held: None  # gets every change of who is held

    async def load(self) -> None:
        """Takes the agents from the journal; each is probed at once."""
        for record in await self._records.all():
            self.adopt(record)

    def adopt(self, record: AgentRecord) -> None:
        """Takes an agent as the journal has it."""
        agent_id, registration, reached_at = record.agent_id, record.registration, record.holder.reached_at
        self.registry.remember(registration)
        if record.present:
            self._saved[agent_id] = registration
            self._holders.put(agent_id, registration.name, record.holder)
            instance, _ = self.registry.register(agent_id, registration.model_copy(update={"draining": False}))
            if reached_at is not None:
                instance.reached, instance.wall_last_seen = True, reached_at
            self._probe_soon(agent_id)
        elif self._saved.pop(agent_id, None) is not None:
            self.registry.remove(agent_id)
            self.wake_waiters()

    def start(self) -> None:
        self._background.loop("agent-probes", self._probe_all)
        self._background.loop("agent-leases", self._watch_leases)

    async def register(self, claim: Claim, caller: Caller) -> tuple[Instance, bool]:
        """Adds an agent or takes its heartbeat; says whether it is new.

        Raises `SecretRefused`, `NameTaken`, `Conflict`, and `Overloaded` for too many; then nothing has changed.
        """
        registration = claim.registration
        agent_id = make_id(registration)
        holder = await self._holders.admit(agent_id, claim, caller)
        known = self.registry.get(agent_id)
        was = known.status if known else None
        instance, new = self.registry.register(agent_id, registration)
        if self._holders.put(agent_id, registration.name, holder):
            self._saved.pop(agent_id, None)
        self.heard(agent_id)
        if self._saved.get(agent_id) != registration:
            await self._records.save(agent_id, registration, holder)
            self._saved[agent_id] = registration
        if instance.status in (AgentStatus.PENDING, AgentStatus.UNREACHABLE):
            self._probe_soon(agent_id)
        if instance.status is not was:
            self._publish_status(instance)
        return instance, new

    async def remove(self, agent_id: str, *, secret: str | None, caller: Caller) -> str:
        """Withdraws an agent and says its name; its running steps go on.

        Its id and its name stay whose they are, unless the operator removes it. Raises `NotFound`, `SecretRefused` and
        `NameTaken`.
        """
        instance = self.registry.get(agent_id)
        if instance is None:
            if not self._holders.is_operator(agent_id, secret, caller) or not await self._records.holder(agent_id):
                raise NotFound(f"There is no agent with id {agent_id!r}.")
            self._records.forget(agent_id)
            return agent_id.rpartition("-")[0]
        by_operator = self._holders.may_withdraw(agent_id, secret, caller)
        self.registry.remove(agent_id)
        self._saved.setdefault(agent_id, instance.registration)  # also where the disk was full
        self._drop(agent_id, forget=by_operator)
        return instance.name

    def may_withdraw(self, agent_id: str, caller: Caller) -> bool:
        """Whether the caller may remove or drain it without knowing its secret."""
        try:
            self._holders.may_withdraw(agent_id, None, caller)
        except Forbidden:
            return False
        return True

    def drain(self, agent_id: str, caller: Caller, *, held: bool) -> str:
        """Gives an agent no more steps, or lets it go again, and says its name; what it works on goes on.

        Raises `NotFound`, `SecretRefused` and `NameTaken`.
        """
        instance = self.registry.get(agent_id)
        if instance is None:
            raise NotFound(f"There is no agent with id {agent_id!r}.")
        self._holders.may_withdraw(agent_id, None, caller)
        self.registry.hold(instance, held)
        self.held(agent_id, held)
        if instance.status is AgentStatus.PENDING:
            self._probe_soon(agent_id)
        self._publish_status(instance)
        return instance.name

    async def take(self, step: Step, *, tried: Collection[str], until: float, since: float) -> Instance:
        """Takes the best instance for a step; its load is counted from now on.

        Waits for a full agent until the step's end; for one that is pending or unreachable, 10 s or half the time left,
        whichever is shorter. Raises `NoAgent`, at once if no such agent can ever have registered, and `StepTimeout`.
        """
        patience = min(PATIENCE_SECONDS, (until - since) / 2)
        while True:
            if instance := self.registry.choose(capability=step.capability, agent=step.agent, avoid=tried):
                self.registry.record_start(instance)
                return instance
            late = self._now() >= since + self.registry.late
            if late and not self.registry.has_known(capability=step.capability, agent=step.agent):
                raise NoAgent(f"No agent has ever registered for {step.target}.")
            full = self._are_only_full(step)
            left = (until if full else since + patience) - self._now()
            if left <= 0 and full:
                raise StepTimeout(f"Every agent for {step.target} stayed busy until the step timed out.")
            if left <= 0:
                raise NoAgent(f"No agent for {step.target} within {patience:.1f} s: {self._explain_none(step)}.")
            await self._wait(left)

    def take_beside(
        self, first: Instance, capability: str | None, suits: Callable[[Instance], bool]
    ) -> Instance | None:
        """Takes another instance of the same agent that `suits` and has a free place, if one is there and not slow."""
        second = self.registry.choose(capability=capability, agent=first.name, outside=(first.id,))
        if second is None or second.slow_seconds or not suits(second):
            return None
        self.registry.record_start(second)
        return second

    def release(self, instance: Instance, *, seconds: float, error: str | None, blame: bool) -> None:
        """Records the end of a call; `error` says what went wrong, if anything."""
        was_full = not self.registry.has_room(instance)
        self.registry.record_end(instance, seconds=seconds, error=error, blame=blame)
        if was_full or error is not None:
            self.wake_waiters()

    def cancel(self, instance: Instance, task_id: str, step_id: str, attempt: int) -> None:
        """Tells an agent that a step's result is no longer needed; does not wait for it."""
        self._background.once(f"cancel:{task_id}:{step_id}", self._client.cancel(instance, task_id, step_id, attempt))

    @asynccontextmanager
    async def watch_call(self, instance: Instance, *, seconds: float | None) -> AsyncIterator[None]:
        """Ends a call with `AgentLost` when the instance falls silent, and with `TimeoutError` after so many seconds.

        `seconds` is None for a call that keeps its own time.
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

    def suspect(self, instance: Instance, error: str, *, replaced: bool = False) -> None:
        """A call did not get through: the instance is left alone until a probe, made at once, has got through.

        One that was `replaced` by another process at its address is left alone until its next heartbeat.
        """
        if replaced:
            self.registry.displace(instance)
        self.registry.suspect(instance, error)
        self._publish_status(instance)
        self._probe_soon(instance.id)

    def record_canary(self, instance: Instance, error: str | None, *, seconds: float) -> None:
        """Records a canary's end; `error` says why it was not answered, if it was not."""
        if self.registry.record_canary(instance, error, seconds=seconds):
            self._publish_status(instance)
        elif error is None:
            self.wake_waiters()

    def get_breaker(self, instance: Instance) -> BreakerState:
        return instance.find_breaker_state(self._now())

    def wake_waiters(self) -> None:
        """Wakes every step that waits for an agent."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, 1.0)):  # an open breaker closes by time, without an event
                await self._changed.wait()

    def _are_only_full(self, step: Step) -> bool:
        able = self.registry.find(capability=step.capability, agent=step.agent)
        return any(i.status is AgentStatus.HEALTHY and i.find_breaker_state(self._now()) == "closed" for i in able)

    def _explain_none(self, step: Step) -> str:
        able = self.registry.find(capability=step.capability, agent=step.agent)
        said = [
            f"{i.id} is {i.status}" + (f" ({i.last_error.rstrip('.')})" if i.last_error else "")
            if i.status is not AgentStatus.HEALTHY
            else f"{i.id} failed {i.failures} times in a row"
            for i in able
        ]
        return "; ".join(said[:3]) or "all of them have withdrawn"

    def _publish_status(self, instance: Instance) -> None:
        data = {"agent_id": instance.id, "name": instance.name, "status": instance.status, "why": instance.last_error}
        self._store.note(None, "agent.status", data)
        self.wake_waiters()

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

        async def probe_one(instance: Instance) -> None:
            async with places:
                await self._probe(instance)

        for turn in count():
            await asyncio.sleep(self._probe_seconds)
            everybody, sharers = self.registry.list_all(), self.registry.sharers
            await asyncio.gather(*(probe_one(i) for i in list_due(everybody, turn=turn, sharers=sharers)))

    async def _probe(self, instance: Instance) -> bool:
        try:
            error = await self._client.probe(instance)
        except CallNotSent:
            return False  # it says nothing of the agent
        if self.registry.record_probe(instance.id, error):
            self._publish_status(instance)
        if error is None and (seen := instance.wall_last_seen) is not None:
            self._holders.reached(instance.id, seen)
        return error is None

    def _cut_silent_calls(self) -> None:
        """Ends the calls at instances whose lease has run out, whoever found them unreachable before.

        A failed probe alone ends no call: the agent may be too busy for it.
        """
        for agent_id in tuple(self._calls):
            instance = self.registry.get(agent_id)
            if instance is not None and instance.lease_until is not None and self._now() > instance.lease_until:
                for limit in tuple(self._calls[agent_id]):
                    if not limit.expired():
                        limit.reschedule(0)

    async def _watch_leases(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + LAPSE_SECONDS
            await asyncio.sleep(LAPSE_SECONDS)
            self.registry.extend_leases(max(0.0, clock() - due))
            for instance in self.registry.expire_leases():
                self._publish_status(instance)
            self._cut_silent_calls()
            self.registry.drop_gone()
            for agent_id in self._saved.keys() - {i.id for i in self.registry.list_all()}:  # gone, or replaced
                self._drop(agent_id, forget=not self._holders.is_reached(agent_id))

    def _drop(self, agent_id: str, *, forget: bool) -> None:
        name = self._saved.pop(agent_id).name
        self._holders.drop(agent_id, forget=forget)
        self._store.note(None, "agent.status", {"agent_id": agent_id, "name": name, "status": "removed"})
        self.wake_waiters()
