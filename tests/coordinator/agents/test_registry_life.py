"""The registry against a plain dict: whatever happens to its agents, in any order, both say the same."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coordinator.agents.instance import BREAKER_SECONDS, Instance
from coordinator.agents.presence import GONE_SECONDS, UNREACHED_SECONDS
from coordinator.agents.registry import BREAKER_OPENS_AFTER, LEASE_SECONDS, Registry
from shared.contracts import Registration

IDS = st.sampled_from(["a", "b", "c"])
NAMES = ("left", "right")
CAPABILITIES = ("read", "write")
SECONDS = st.sampled_from([0.1, 0.9, 1.5, 2.5, 5.9, 6.1, 61.0, UNREACHED_SECONDS + 1, GONE_SECONDS + 1])
RARELY = st.integers(0, 7).map(lambda n: n == 7)


@dataclass
class Call:
    """One call at an agent; `life` tells the agents that have had one id apart."""

    instance: Instance
    life: int
    began: float


class RegistryLife(RuleBasedStateMachine):
    """`known` is the model: one dict for each agent that should be there, by its id."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 1_000.0
        self.registry = Registry(now=lambda: self.at, wall=lambda: self.at, random=Random(1))
        self.known: dict[str, dict[str, Any]] = {}
        self.named: set[str] = set()
        self.calls: list[Call] = []
        self.lives = 0

    # --- coming and going

    @initialize(most=st.sampled_from([None, 1, 2]))
    def join(self, most: int | None) -> None:
        for id, process in zip("abc", "pqr", strict=True):
            self.register(id, "left", [*CAPABILITIES], process, 1, most=most, draining=False, reached=True)

    @rule(
        id=IDS,
        name=st.sampled_from(NAMES),
        can=st.lists(st.sampled_from(CAPABILITIES), unique=True),
        process=st.sampled_from([None, "p", "q", "r"]),
        port=st.integers(1, 2),
        most=st.sampled_from([None, 1, 2]),
        draining=RARELY,
        reached=st.booleans(),
    )
    def register(self, id: str, name: str, can: list[str], process: str | None, port: int, **said: Any) -> None:
        registration = Registration(
            name=name,
            endpoint=f"http://host:{port}",
            capabilities=can,
            instance=process,
            max_concurrency=said["most"],
            draining=said["draining"],
        )
        self._registers(id, registration)
        if said["reached"]:
            self._probes(id, None)

    @rule(id=IDS)
    def beat(self, id: str) -> None:
        if id in self.known:
            self._registers(id, self.known[id]["registration"])

    def _registers(self, id: str, registration: Registration) -> None:
        _, new = self.registry.register(id, registration)

        assert new == (id not in self.known)
        if new:
            self.lives += 1
            self.known[id] = {
                "life": self.lives,
                "status": "pending",
                "lease": None,
                "reached": False,
                "since": self.at,
            }
            self.known[id] |= {"load": 0, "failures": 0, "trial": False, "opened": None, "tripped": 0.0, "pause": 1.0}
        agent = self.known[id]
        agent["registration"] = registration
        if registration.instance is not None:
            agent["lease"], agent["seen"] = self.at + LEASE_SECONDS, self.at
            for other in self._others(id, registration.name):
                same = self.known[other]["registration"].instance == registration.instance
                if same and (self._silent(other) or self.known[other]["status"] == "unreachable"):
                    del self.known[other]
        if registration.draining:
            agent["status"] = "draining"
        elif agent["status"] == "draining":
            agent["status"] = "pending"
        self.named |= {registration.name, *registration.capabilities}

    @rule(id=IDS)
    def remove(self, id: str) -> None:
        gone = self.registry.remove(id)

        assert (gone is not None) == (self.known.pop(id, None) is not None)

    @rule(id=IDS, error=st.sampled_from([None, "refused"]))
    def probe(self, id: str, error: str | None) -> None:
        self._probes(id, error)

    def _probes(self, id: str, error: str | None) -> None:
        before = self._statuses()
        changed = self.registry.record_probe(id, error)
        agent = self.known.get(id)
        if agent is not None and agent["status"] != "draining":
            if error is not None:
                agent["status"] = "unreachable"
            else:
                agent["reached"], agent["seen"] = True, self.at
                if not self._silent(id):
                    agent["status"] = "healthy"
                    self._replaces(id)
        assert changed == (before.get(id) != self._statuses().get(id))

    def _replaces(self, id: str) -> None:
        mine = self.known[id]
        for other in self._others(id, mine["registration"].name):
            here = self.known[other]["registration"].endpoint == mine["registration"].endpoint
            if here and mine["lease"] is not None and self._silent(other):
                del self.known[other]

    # --- time

    @rule(seconds=SECONDS, looked=st.booleans())
    def pass_time(self, seconds: float, looked: bool) -> None:
        self.at += seconds
        if looked:
            self._lapses()
            self._forgets()

    def _lapses(self) -> None:
        newly = [i for i in self.known if self._silent(i) and self.known[i]["status"] != "unreachable"]

        assert {i.id for i in self.registry.expire_leases()} == set(newly)
        for id in newly:
            self.known[id]["status"] = "unreachable"
        assert self.registry.expire_leases() == []

    @rule(seconds=st.sampled_from([0.5, 10.0]))
    def wake_after_a_pause(self, seconds: float) -> None:
        self.at += seconds
        self.registry.extend_leases(seconds)
        for agent in self.known.values():
            if agent["lease"] is not None:
                agent["lease"] += seconds

    def _forgets(self) -> None:
        self.registry.drop_gone()
        for id, agent in list(self.known.items()):
            never = not agent["reached"] and self.at - agent["since"] > UNREACHED_SECONDS
            away = agent["status"] == "unreachable" and agent["reached"] and self.at - agent["seen"] > GONE_SECONDS
            if never or away:
                del self.known[id]

    # --- work

    @rule(
        capability=st.sampled_from([None, None, *CAPABILITIES]),
        agent=st.sampled_from([None, None, *NAMES]),
        avoid=st.sets(IDS),
        outside=st.sets(IDS, max_size=2),
        times=st.integers(1, 3),
    )
    def start(self, times: int, **asked: Any) -> None:
        for _ in range(times):
            self._chooses(**asked)

    def _chooses(self, capability: str | None, agent: str | None, avoid: set[str], outside: set[str]) -> None:
        """The choice is one that can, an untried one before all others, and none only where none can."""
        chosen = self.registry.choose(capability=capability, agent=agent, avoid=avoid, outside=outside)

        surely, perhaps = (self._able(capability, agent, outside, trusted=trusted) for trusted in (True, False))
        if chosen is None:
            assert surely == set()
            return
        assert chosen.id in perhaps
        assert chosen.id not in avoid or not surely - avoid
        self._starts(chosen)

    def _starts(self, chosen: Instance) -> None:
        self.registry.record_start(chosen)
        mine = self.known[chosen.id]
        mine["load"] += 1
        mine["trial"] = mine["opened"] is not None
        self.calls.append(Call(chosen, mine["life"], self.at))

    @precondition(lambda self: self.calls)
    @rule(n=st.integers(0, 9), error=st.sampled_from([None, "HTTP 500"]), blame=st.booleans())
    def end(self, n: int, error: str | None, blame: bool) -> None:
        self._ends(self.calls.pop(n % len(self.calls)), error, blame)

    @rule(id=IDS, times=st.integers(1, 6), slow=st.booleans(), seconds=st.sampled_from([0.0, 0.5, 1.3, 2.6, 5.2]))
    def fail_again_and_again(self, id: str, times: int, slow: bool, seconds: float) -> None:
        """Calls that fail one by one or, with `slow`, all at once; then it is left alone for some seconds."""
        for _ in range(times):
            if chosen := self.registry.choose(capability=None, agent=None, outside={*self.known} - {id}):
                self._starts(chosen)
                if not slow:
                    self._ends(self.calls.pop(), "HTTP 500", True)
        self.at += seconds
        for call in self.calls[-times:] if slow else ():
            self.calls.remove(call)
            self._ends(call, "HTTP 500", True)

    def _ends(self, call: Call, error: str | None, blame: bool) -> None:
        self.registry.record_end(call.instance, seconds=self.at - call.began, error=error, blame=blame)
        agent = self.known.get(call.instance.id)
        if agent is None or agent["life"] != call.life:
            return
        agent["load"] -= 1
        agent["trial"] = False
        if error is None:
            agent.update(failures=0, opened=None, pause=BREAKER_SECONDS[0])
        elif blame and agent["status"] != "unreachable":
            agent["failures"] += 1
            if agent["failures"] >= BREAKER_OPENS_AFTER and call.began >= agent["tripped"]:
                agent["opened"] = agent["tripped"] = self.at
                agent["longest"], agent["pause"] = agent["pause"], min(BREAKER_SECONDS[1], agent["pause"] * 2)

    @rule(id=IDS, how=st.sampled_from(["suspect", "displace"]))
    def doubt(self, id: str, how: str) -> None:
        instance = self.registry.get(id)
        if instance is None:
            return
        agent = self.known[id]
        if how == "suspect":
            self.registry.suspect(instance, "reset")
            if agent["status"] == "healthy":
                agent["status"] = "unreachable"
        else:
            self.registry.displace(instance)
            if agent["lease"] is not None:
                agent["lease"] = min(agent["lease"], self.at - 1e-6)

    # --- what always holds

    @invariant()
    def knows_the_same_agents(self) -> None:
        assert self._statuses() == {id: agent["status"] for id, agent in self.known.items()}
        for capability in CAPABILITIES:
            able = {id for id, agent in self.known.items() if capability in agent["registration"].capabilities}
            assert {i.id for i in self.registry.find(capability=capability, agent=None)} == able
        for name in NAMES:
            assert {i.id for i in self.registry.find(capability=None, agent=name)} == {
                id for id, agent in self.known.items() if agent["registration"].name == name
            }
            assert self.registry.has_known(capability=None, agent=name) == (name in self.named)
        assert {*self.registry.list_names()} == {agent["registration"].name for agent in self.known.values()}

    @invariant()
    def counts_the_same_calls(self) -> None:
        assert {i.id: i.load for i in self.registry.list_all()} == {id: a["load"] for id, a in self.known.items()}
        for instance in self.registry.list_all():
            assert instance.find_breaker_state(self.at) in self._breaker(instance.id)

    def _statuses(self) -> dict[str, str]:
        return {i.id: i.status.value for i in self.registry.list_all()}

    def _others(self, id: str, name: str) -> list[str]:
        return [other for other, agent in self.known.items() if other != id and agent["registration"].name == name]

    def _silent(self, id: str) -> bool:
        lease = self.known[id]["lease"]
        return lease is not None and self.at > lease

    def _breaker(self, id: str) -> set[str]:
        """What the breaker may be: how long its pause is, is between 80 and 120 % of a known time."""
        agent = self.known[id]
        if agent["opened"] is None:
            return {"closed"}
        waited = (self.at - agent["opened"]) / agent["longest"]
        return {"open"} if waited < 0.8 else {"half_open"} if waited >= 1.2 else {"open", "half_open"}

    def _able(self, capability: str | None, name: str | None, outside: set[str], *, trusted: bool) -> set[str]:
        """Who can take a call: surely with `trusted`, else perhaps."""
        states = {"closed", "half_open"}
        found = set()
        for id, agent in self.known.items():
            asked = agent["registration"]
            fits = capability in (None, *asked.capabilities) and name in (None, asked.name) and id not in outside
            room = asked.max_concurrency is None or agent["load"] < asked.max_concurrency
            breaker = self._breaker(id)
            through = breaker <= states if trusted else breaker & states
            if (
                fits
                and room
                and through
                and agent["status"] == "healthy"
                and ("closed" in breaker or not agent["trial"])
            ):
                found.add(id)
        return found


TestRegistryLife = RegistryLife.TestCase
TestRegistryLife.settings = settings(max_examples=3 * settings.default.max_examples, stateful_step_count=50)
