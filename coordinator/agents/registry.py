"""PURE: which agents are alive, what each can do, and which is chosen next; clock and chance are passed in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from random import Random

from coordinator.agents.canary import HELD_SECONDS, must_leave, note_answer, note_silence
from coordinator.agents.folders import refuse_other_folder
from coordinator.agents.instance import BREAKER_SECONDS, CanaryResult, Instance
from coordinator.agents.pace import Paces, estimate, may_try, note_canary, note_end, note_slow
from coordinator.agents.presence import choose_to_go, find_gone
from shared.contracts import AgentStatus, Registration
from shared.errors import Overloaded

LEASE_SECONDS = 6.0  # three missed heartbeats of 2 s
MAX_AGENTS = 1_000
BREAKER_OPENS_AFTER = 5  # consecutive failures
LATENCY_WEIGHT = 0.3  # of the newest measurement in the moving average
LOOKED_AT = 32  # instances for one step, of however many


class Registry:
    """All instances of all agents."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
        random: Random,
        settled: Callable[[], float] | None = None,
    ) -> None:
        """`settled` is the wall clock for what goes by its age."""
        self._now = now
        self._wall = wall
        self._settled = settled or wall
        self._random = random
        self._instances: dict[str, Instance] = {}
        self._by_name: dict[str, dict[str, Instance]] = {}  # and by id
        self._by_capability: dict[str, dict[str, Instance]] = {}
        self.late = 0.0  # seconds until a registration at another coordinator is known here
        self.sharers = 1  # coordinators that give steps to the same agents: each has its part of their places
        self.changes = 0  # how often an instance came or went, or registered otherwise than before
        self.paces = Paces()
        self._ever_capable: set[str] = set()
        self._ever_named: set[str] = set()

    # --- who is there

    def list_all(self) -> list[Instance]:
        return sorted(self._instances.values(), key=lambda i: (i.name, i.id))

    def get(self, agent_id: str) -> Instance | None:
        return self._instances.get(agent_id)

    def list_names(self) -> Collection[str]:
        """Of all agents that are there, as they come and go."""
        return self._by_name.keys()

    def find(self, *, capability: str | None, agent: str | None) -> list[Instance]:
        """Every instance that was registered for this, alive or not."""
        return [*self._find(capability, agent)]

    def _find(self, capability: str | None, agent: str | None) -> Collection[Instance]:
        if capability is None:
            return self._by_name.get(agent, {}).values() if agent is not None else self._instances.values()
        able = self._by_capability.get(capability, {}).values()
        return able if agent is None else [i for i in able if i.name == agent]

    def has_known(self, *, capability: str | None, agent: str | None) -> bool:
        """Whether anybody for this was ever registered, here or before a restart."""
        was = agent in self._ever_named if agent is not None else capability in self._ever_capable
        return was or bool(self._find(capability, agent))

    def remember(self, registration: Registration) -> None:
        """An agent that was here before: steps for it, or for what it can do, wait a little and do not fail at once."""
        self._ever_capable.update(registration.capabilities)
        self._ever_named.add(registration.name)

    # --- coming and going

    def register(self, agent_id: str, registration: Registration) -> tuple[Instance, bool]:
        """Adds or refreshes an instance; says whether it is new.

        At 1,000 instances the one that is away longest makes room, one that was never reached before all others; raises
        `Overloaded` where none is away, and `Conflict` for one that looks into another folder than the living
        one of its name: which of them a question goes to would be chance.
        """
        now = self._now()
        known = self._instances.get(agent_id)
        if known is None or self._is_silent(known):
            same = self._by_name.get(registration.name, {}).values()
            refuse_other_folder(agent_id, registration, [i for i in same if not self._is_silent(i)])
        if known is None and len(self._instances) >= MAX_AGENTS:
            gone = choose_to_go(self._instances.values())
            if gone is None:
                raise Overloaded(
                    f"The registry is full ({MAX_AGENTS:,} agents). Remove agents that are no longer used.",
                    retry_after=60,
                )
            self.remove(gone.id)
        instance = known or Instance(agent_id, registration, now, self._wall())
        if registration.instance is not None:
            instance.lease_until = now + LEASE_SECONDS
            instance.last_seen, instance.wall_last_seen = now, self._wall()
            self._drop_predecessors(instance, registration)
        if instance.registration != registration:
            self._unlist(instance)
            instance.registration = registration
            instance.deaf = instance.deaf and instance.takes_canaries
        if registration.draining or instance.held:
            instance.status, instance.away_since = AgentStatus.DRAINING, None
        elif instance.status is AgentStatus.DRAINING:
            instance.status = AgentStatus.PENDING
        self._list(instance)
        self.remember(registration)
        return instance, known is None

    def remove(self, agent_id: str) -> Instance | None:
        instance = self._instances.get(agent_id)
        if instance is not None:
            self._unlist(instance)
        return instance

    def record_probe(self, agent_id: str, error: str | None) -> bool:
        """Records a probe; says whether the status changed."""
        instance = self._instances.get(agent_id)
        if instance is None or instance.status is AgentStatus.DRAINING:
            return False
        before = instance.status
        if error is None:
            instance.last_seen, instance.wall_last_seen = self._now(), self._wall()
            instance.reached = True
            if not self._is_silent(instance) and not instance.deaf:
                self._welcome(instance)
                self._drop_replaced(instance)
        else:
            self._lose(instance, error)
        return instance.status is not before

    def hold(self, instance: Instance, held: bool) -> None:
        """Gives it no more steps, whatever its heartbeats say, or lets it go again, once a probe has succeeded."""
        instance.held = held
        if held and instance.status is not AgentStatus.UNREACHABLE:
            instance.status, instance.away_since = AgentStatus.DRAINING, None
        elif not held and instance.status is AgentStatus.DRAINING and not instance.registration.draining:
            instance.status = AgentStatus.PENDING

    def record_canary(self, instance: Instance, error: str | None, *, seconds: float) -> bool:
        """Records whether a canary was answered, after so many seconds; says whether the status changed.

        An answer ends the pause of the breaker: the next step is its trial. Two canaries in a row without one take the
        instance out of rotation, where it may leave, until it answers again.
        """
        before = instance.status
        instance.last_canary = CanaryResult(self._wall(), seconds, error)
        limit = self.paces.find_limit(instance.name)
        note_canary(instance, seconds if error is None else None, limit, self._now())
        if error is None:
            if note_answer(instance, self._now()) and not self._is_silent(instance):
                self._welcome(instance)
        else:
            note_silence(instance, self._now())
            same = self._by_name.get(instance.name, {}).values()
            if must_leave(instance, same, self._instances.values()):
                instance.deaf = True
                self._lose(instance, f"It left {instance.unanswered} canaries in a row unanswered: {error}")
        return instance.status is not before

    def extend_leases(self, seconds: float) -> None:
        """This process was paused for so long and received no heartbeats: leases are extended by as much."""
        for instance in self._instances.values():
            if instance.lease_until is not None:
                instance.lease_until += seconds

    def expire_leases(self) -> list[Instance]:
        """Marks instances whose lease has run out as unreachable; returns the newly silent."""
        newly = []
        for instance in list(self._instances.values()):
            if not self._is_silent(instance):
                continue
            assert instance.lease_until is not None
            silent_for = self._now() - instance.lease_until + LEASE_SECONDS
            if instance.status is not AgentStatus.UNREACHABLE:
                self._lose(instance, f"silent for {silent_for:.0f} s")
                newly.append(instance)
        return newly

    def drop_gone(self) -> None:
        """Takes those off the list who were never reached in 10 minutes, or have been away for 30 days."""
        for instance in find_gone(self._instances.values(), now=self._now(), wall=self._settled()):
            self.remove(instance.id)

    # --- who is next

    def choose(
        self, *, capability: str | None, agent: str | None, avoid: Collection[str] = (), outside: Iterable[str] = ()
    ) -> Instance | None:
        """The instance that would answer soonest: least outstanding work times recent latency; None if no instance can.

        Of more than 32 that are registered for it, 32 are looked at that chance has chosen, as long as one of them can:
        two choices are nearly as good as all (Mitzenmacher 2001), and with 990 agents all were half of a task's cost.
        `avoid` are instances already tried: they are taken only when there is no other. `outside` are never taken.
        """
        now = self._now()
        banned = set(outside)
        known = self._find(capability, agent)
        able: list[Instance] = []
        if len(known) > LOOKED_AT:
            able = self._select_able(self._random.sample([*known], LOOKED_AT), banned, now)
        able = [i for i in able if i.id not in avoid] or self._select_able(known, banned, now)
        fresh = [i for i in able if i.id not in avoid] or able
        if not fresh:
            return None
        expected = estimate(fresh, now)
        return min(fresh, key=lambda i: (expected[i.id], self._random.random()))

    def _select_able(self, instances: Iterable[Instance], banned: Collection[str], now: float) -> list[Instance]:
        return [
            i
            for i in instances
            if i.status is AgentStatus.HEALTHY
            and i.id not in banned
            and self.has_room(i)
            and (i.open_until is None or self._lets_through(i, now))
        ]

    def record_start(self, instance: Instance) -> None:
        instance.load += 1
        if instance.open_until is not None:
            instance.trial = True
        if instance.slow_seconds and may_try(instance, self._now()):
            instance.slow_trial = True

    def record_end(self, instance: Instance, *, seconds: float | None, error: str | None, blame: bool) -> None:
        """Records a call's end: its latency when it went well, one failure more when the agent is to blame."""
        instance.load = max(0, instance.load - 1)
        instance.trial = False
        if error is None and seconds is not None:
            self.paces.add(instance, seconds)
        if instance.slow_seconds or error is None:
            limit = self.paces.find_limit(instance.name)
            note_end(instance, seconds if error is None else None, limit, self._now())
        if error is None:
            instance.failures, instance.open_until, instance.pause = 0, None, BREAKER_SECONDS[0]
            instance.last_error = None
            if seconds is not None:
                old, instance.measured_at = instance.latency, self._now()
                instance.latency = seconds if old is None else old + LATENCY_WEIGHT * (seconds - old)
            return
        instance.last_error = error
        if not blame or instance.status is AgentStatus.UNREACHABLE:  # one that is gone is left alone until a probe
            return
        instance.failures += 1
        began = self._now() - (seconds or 0.0)
        if instance.opened_at is not None and began < instance.opened_at:
            return  # it was under way when the breaker opened, and tells nothing new
        if instance.failures >= BREAKER_OPENS_AFTER:
            instance.opened_at = self._now()
            pause = HELD_SECONDS if instance.takes_canaries else instance.pause * (0.8 + 0.4 * self._random.random())
            instance.open_until = instance.opened_at + pause
            instance.pause = min(BREAKER_SECONDS[1], instance.pause * 2)

    def note_slow(self, instance: Instance, seconds: float) -> bool:
        """A call at the instance takes far too long, and has not ended yet; whether that is new of it."""
        return note_slow(instance, seconds, self._now())

    def has_room(self, instance: Instance) -> bool:
        most = instance.registration.max_concurrency
        return most is None or instance.load < max(1, most // self.sharers)

    def suspect(self, instance: Instance, error: str) -> None:
        """A call did not get through: nothing is sent there until a probe has."""
        if instance.status is AgentStatus.HEALTHY:
            self._lose(instance, error)

    def displace(self, instance: Instance) -> None:
        """Another process answers at its address: its lease is over, and its own next heartbeat begins another."""
        if instance.lease_until is not None:
            instance.lease_until = min(instance.lease_until, self._now() - 1e-6)

    def _welcome(self, instance: Instance) -> None:
        instance.status = AgentStatus.DRAINING if instance.held else AgentStatus.HEALTHY
        instance.last_error = instance.away_since = None

    def _lose(self, instance: Instance, error: str) -> None:
        if instance.status is not AgentStatus.UNREACHABLE:
            instance.away_since = self._now()
        instance.status, instance.last_error = AgentStatus.UNREACHABLE, error

    def _lets_through(self, instance: Instance, now: float) -> bool:
        return {"closed": True, "open": False, "half_open": not instance.trial}[instance.find_breaker_state(now)]

    def _is_silent(self, instance: Instance) -> bool:
        return instance.lease_until is not None and self._now() > instance.lease_until

    def _drop_predecessors(self, instance: Instance, registration: Registration) -> None:
        """The same instance at a new endpoint: its silent earlier self goes."""
        for other in list(self._by_name.get(registration.name, {}).values()):
            same = other.registration.instance == registration.instance
            if same and other.id != instance.id and (self._is_silent(other) or other.status is AgentStatus.UNREACHABLE):
                self.remove(other.id)

    def _drop_replaced(self, instance: Instance) -> None:
        """An agent that lost its secret and took another `instance` finds its silent earlier self at its address."""
        for other in list(self._by_name.get(instance.name, {}).values()):
            here = other.registration.endpoint == instance.registration.endpoint
            if here and other.id != instance.id and instance.lease_until is not None and self._is_silent(other):
                self.remove(other.id)

    def _list(self, instance: Instance) -> None:
        self.changes += instance.id not in self._instances
        self._instances[instance.id] = instance
        self._by_name.setdefault(instance.name, {})[instance.id] = instance
        for capability in instance.registration.capabilities:
            self._by_capability.setdefault(capability, {})[instance.id] = instance

    def _unlist(self, instance: Instance) -> None:
        self._instances.pop(instance.id, None)
        self.changes += 1
        lists = [(self._by_name, instance.name)]
        lists += [(self._by_capability, capability) for capability in instance.registration.capabilities]
        for by, key in lists:
            listed = by.get(key, {})
            listed.pop(instance.id, None)
            if not listed:
                by.pop(key, None)
