"""The registry on a clock of its own: leases, breakers, and who is chosen."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from coordinator.agents.instance import Instance
from coordinator.agents.presence import GONE_SECONDS, UNREACHED_SECONDS
from coordinator.agents.registry import LEASE_SECONDS, MAX_AGENTS, Registry
from shared.contracts import AgentStatus, Registration
from shared.errors import Conflict, Overloaded

HEALTHY, UNREACHABLE = AgentStatus.HEALTHY, AgentStatus.UNREACHABLE


class Clock:
    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at

    def passes(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Registry:
    return Registry(now=clock, wall=clock, random=Random(1))


def adds(registry: Registry, id: str = "a", **changes: Any) -> Instance:
    """Registers an instance that calls again by itself, and probes it well."""
    known = {"name": "agent", "endpoint": f"http://{id}", "capabilities": ["work"], "instance": id} | changes
    instance, _ = registry.register(id, Registration.model_validate(known))
    registry.record_probe(id, None)
    return instance


def fails(registry: Registry, instance: Instance, times: int = 1) -> None:
    for _ in range(times):
        registry.record_start(instance)
        registry.record_end(instance, seconds=0.1, error="HTTP 500", blame=True)


def chosen(registry: Registry, **more: Any) -> str | None:
    found = registry.choose(capability="work", agent=None, **more)
    return found.id if found else None


# --- leases -----------------------------------------------------------------------------------------


def test_an_agent_is_pending_until_a_probe_got_through(registry: Registry) -> None:
    registry.register("a", Registration(name="agent", endpoint="http://a", capabilities=["work"]))

    assert (registry.list_all()[0].status, chosen(registry)) == (AgentStatus.PENDING, None)
    assert registry.record_probe("a", None)
    assert chosen(registry) == "a"
    assert not registry.record_probe("a", None)


def test_lease_lapses_after_three_beats_and_comes_back(registry: Registry, clock: Clock) -> None:
    """A lease lapses after three missed beats and a beat and a probe bring it back."""
    instance = adds(registry)
    clock.passes(LEASE_SECONDS)
    assert registry.expire_leases() == []
    clock.passes(0.1)

    assert registry.expire_leases() == [instance]
    assert registry.expire_leases() == []
    assert (instance.status, instance.last_error, chosen(registry)) == (UNREACHABLE, "silent for 6 s", None)
    registry.record_probe("a", None)
    assert instance.status is UNREACHABLE, "it can be called and still does not beat"
    adds(registry)
    assert (instance.status, instance.last_error) == (HEALTHY, None)


def test_an_agent_registered_by_hand_has_no_lease(registry: Registry, clock: Clock) -> None:
    adds(registry, instance=None)
    clock.passes(GONE_SECONDS + 1)
    registry.drop_gone()

    assert registry.expire_leases() == []
    assert chosen(registry) == "a"


def test_long_silent_agent_is_forgotten_its_name_stays(registry: Registry, clock: Clock) -> None:
    """An agent that is away for 30 days is forgotten, but neither its name nor its capability."""
    adds(registry)
    clock.passes(GONE_SECONDS - 1)
    registry.expire_leases()
    registry.drop_gone()
    assert [i.status for i in registry.list_all()] == [UNREACHABLE]
    clock.passes(2)
    registry.drop_gone()

    assert registry.list_all() == []
    assert registry.has_known(capability="work", agent=None)
    assert registry.has_known(capability=None, agent="agent")
    assert not registry.has_known(capability="paint", agent=None)
    assert not registry.has_known(capability=None, agent="painter")


def test_worker_at_new_endpoint_replaces_its_old_self(registry: Registry, clock: Clock) -> None:
    """A worker that is back at another endpoint replaces its silent self."""
    adds(registry, "old", instance="w1")
    adds(registry, "other", instance="w2")
    clock.passes(LEASE_SECONDS + 1)
    registry.expire_leases()

    adds(registry, "new", instance="w1")

    assert [i.id for i in registry.list_all()] == ["new", "other"]


def test_the_thousand_and_first_agent_is_refused(registry: Registry) -> None:
    for i in range(MAX_AGENTS):
        adds(registry, f"a{i}")

    with pytest.raises(Overloaded):
        adds(registry, "one-more")
    adds(registry, "a0")


def test_agent_that_is_away_makes_room(registry: Registry, clock: Clock) -> None:
    """At the limit who was never reached goes first, then who has been away longest."""
    for i in range(MAX_AGENTS - 3):
        adds(registry, f"a{i}", instance=None)
    for id in ("long", "short", "never"):
        registry.register(id, Registration(name="agent", endpoint=f"http://{id}", capabilities=[]))
        registry.record_probe(id, None if id != "never" else "refused")
    for id in ("long", "short"):
        clock.passes(1)
        registry.record_probe(id, "refused")

    for n, gone in enumerate(("never", "long", "short")):
        adds(registry, f"new{n}", instance=None)
        assert registry.get(gone) is None, gone
    with pytest.raises(Overloaded):
        adds(registry, "one-more")


def test_agent_never_reached_goes_after_ten_minutes(registry: Registry, clock: Clock) -> None:
    """Whether it sends heartbeats or not."""
    by_hand = Registration(name="agent", endpoint="http://a", capabilities=[])
    registry.register("by-hand", by_hand)
    registry.register("beats", by_hand.model_copy(update={"instance": "beats"}))
    adds(registry, "reached", instance=None)
    registry.record_probe("reached", "refused")
    clock.passes(UNREACHED_SECONDS)
    registry.drop_gone()
    assert len(registry.list_all()) == 3
    clock.passes(1)
    registry.drop_gone()

    assert [(i.id, i.status) for i in registry.list_all()] == [("reached", UNREACHABLE)]


def test_process_with_another_instance_replaces_its_silent_self(registry: Registry, clock: Clock) -> None:
    """A worker that lost its secret leaves no ghost: it is at the same address, and its earlier self is silent."""
    adds(registry, "old", endpoint="http://same")
    adds(registry, "new", endpoint="http://same")
    assert len(registry.list_all()) == 2, "both may live, as far as anybody knows"
    clock.passes(LEASE_SECONDS + 1)
    adds(registry, "new", endpoint="http://same")

    assert [i.id for i in registry.list_all()] == ["new"]


def test_displaced_instance_waits_for_its_own_heartbeat(registry: Registry) -> None:
    """A probe of its address is answered by somebody else."""
    instance = adds(registry)
    registry.displace(instance)
    registry.suspect(instance, "refused")
    registry.record_probe("a", None)
    assert (instance.status, chosen(registry)) == (UNREACHABLE, None)
    adds(registry)

    assert (instance.status, chosen(registry)) == (HEALTHY, "a")


# --- who is next --------------------------------------------------------------------------------------


def test_unproven_newcomer_gets_no_more_than_its_share(registry: Registry) -> None:
    """A slow one beside quick ones would otherwise get every step until its first answer."""
    quick, _ = adds(registry, "quick"), adds(registry, "newcomer")
    registry.record_start(quick)
    registry.record_end(quick, seconds=0.02, error=None, blame=False)

    got = []
    for _ in range(20):
        instance = registry.choose(capability="work", agent=None)
        assert instance is not None
        registry.record_start(instance)
        got.append(instance.id)
        if instance is quick:
            registry.record_end(quick, seconds=0.02, error=None, blame=False)

    assert got.count("newcomer") == 1


def test_the_least_loaded_of_equals_is_chosen(registry: Registry) -> None:
    one, two = adds(registry, "one"), adds(registry, "two")
    registry.record_start(one)
    assert chosen(registry) == "two"
    registry.record_start(two)
    registry.record_start(two)

    assert chosen(registry) == "one"


def test_a_quick_one_gets_more_than_a_slow_one(registry: Registry) -> None:
    for id, seconds in (("slow", 2.0), ("quick", 0.1)):
        instance = adds(registry, id)
        registry.record_start(instance)
        registry.record_end(instance, seconds=seconds, error=None, blame=False)
    taken = []
    for _ in range(10):
        instance = registry.choose(capability="work", agent=None)
        assert instance is not None
        registry.record_start(instance)
        taken.append(instance.id)

    assert taken.count("quick") == 10


def test_equals_share_the_work(registry: Registry) -> None:
    for i in range(4):
        adds(registry, f"a{i}")
    taken = []
    for _ in range(40):
        instance = registry.choose(capability="work", agent=None)
        assert instance is not None
        registry.record_start(instance)
        taken.append(instance.id)

    assert {taken.count(f"a{i}") for i in range(4)} == {10}


def test_nobody_gets_more_than_it_takes(registry: Registry) -> None:
    instance = adds(registry, max_concurrency=2)
    registry.record_start(instance)
    assert chosen(registry) == "a"
    registry.record_start(instance)

    assert chosen(registry) is None


def test_tried_instance_is_chosen_only_as_the_last(registry: Registry) -> None:
    """One that was tried is taken only when there is no other."""
    adds(registry, "one")
    assert chosen(registry, avoid={"one"}) == "one"
    adds(registry, "two")

    assert chosen(registry, avoid={"one"}) == "two"
    assert chosen(registry, outside={"one", "two"}) is None


def test_names_and_capabilities_choose_between_agents(registry: Registry) -> None:
    adds(registry, "painter", name="painter", capabilities=["paint"])
    adds(registry, "clerk", name="clerk", capabilities=["work", "file"])

    assert registry.choose(capability="paint", agent=None).id == "painter"
    assert registry.choose(capability=None, agent="clerk").id == "clerk"
    assert registry.choose(capability="paint", agent="clerk") is None


def test_a_draining_agent_gets_nothing_and_beats_on(registry: Registry) -> None:
    instance = adds(registry)
    adds(registry, draining=True)
    assert (instance.status, chosen(registry)) == (AgentStatus.DRAINING, None)
    assert not registry.record_probe("a", None)

    adds(registry, draining=False)

    assert (instance.status, chosen(registry)) == (HEALTHY, "a")


# --- the breaker --------------------------------------------------------------------------------------


def test_the_breaker_opens_after_five_failures_in_a_row(registry: Registry, clock: Clock) -> None:
    instance = adds(registry)
    fails(registry, instance, 4)
    assert (instance.find_breaker_state(clock()), chosen(registry)) == ("closed", "a")
    fails(registry, instance)

    assert (instance.find_breaker_state(clock()), chosen(registry)) == ("open", None)


def test_one_success_between_failures_keeps_it_closed(registry: Registry, clock: Clock) -> None:
    instance = adds(registry)
    for _ in range(5):
        fails(registry, instance, 4)
        registry.record_start(instance)
        registry.record_end(instance, seconds=0.1, error=None, blame=False)

    assert instance.find_breaker_state(clock()) == "closed"


def test_one_trial_after_a_pause_decides(registry: Registry, clock: Clock) -> None:
    """After a pause one trial goes through and its end decides."""
    instance = adds(registry)
    fails(registry, instance, 5)
    clock.passes(1.3)
    assert (instance.find_breaker_state(clock()), chosen(registry)) == ("half_open", "a")
    registry.record_start(instance)
    assert chosen(registry) is None

    registry.record_end(instance, seconds=0.1, error="HTTP 500", blame=True)
    assert instance.find_breaker_state(clock()) == "open"
    clock.passes(1.3)
    assert instance.find_breaker_state(clock()) == "open", "the second pause is longer"
    clock.passes(1.3)
    registry.record_start(instance)
    registry.record_end(instance, seconds=0.1, error=None, blame=False)

    assert (instance.find_breaker_state(clock()), instance.failures) == ("closed", 0)


def test_the_pause_grows_to_three_seconds_and_no_further(registry: Registry, clock: Clock) -> None:
    instance = adds(registry)
    fails(registry, instance, 5)
    for _ in range(12):
        clock.passes(100)
        fails(registry, instance)
        assert instance.find_breaker_state(clock()) == "open"

        clock.passes(3 * 1.2 + 0.1)
        assert instance.find_breaker_state(clock()) == "half_open"


def test_failures_beyond_the_agents_control_do_not_count(registry: Registry, clock: Clock) -> None:
    """Failures the agent is not to blame for do not count."""
    instance = adds(registry)
    for _ in range(20):
        registry.record_start(instance)
        registry.record_end(instance, seconds=None, error="cancelled", blame=False)

    assert (instance.find_breaker_state(clock()), instance.load) == ("closed", 0)


def test_suspect_gets_no_steps_until_a_probe_succeeds(registry: Registry) -> None:
    """A suspect is left alone until a probe got through."""
    instance = adds(registry)
    registry.suspect(instance, "Connection refused")
    assert (instance.status, chosen(registry)) == (UNREACHABLE, None)

    registry.record_probe("a", None)

    assert chosen(registry) == "a"


def works(registry: Registry, instance: Instance, seconds: float) -> None:
    registry.record_start(instance)
    registry.record_end(instance, seconds=seconds, error=None, blame=False)


def shares(registry: Registry, times: int = 300) -> dict[str, float]:
    """How often each is chosen by steps that come one after the other."""
    found = [chosen(registry) for _ in range(times)]
    return {id: found.count(id) / times for id in set(found) if id}


def test_replicas_that_are_alike_share_alike(registry: Registry) -> None:
    """What noise makes of their latencies must not send everything to one."""
    for id, latency in (("a", 0.020), ("b", 0.028), ("c", 0.055)):
        works(registry, adds(registry, id), latency)

    assert all(0.25 <= share <= 0.42 for share in shares(registry).values())
    assert set(shares(registry)) == {"a", "b", "c"}


def test_slow_instance_rests_and_is_tried_again(registry: Registry, clock: Clock) -> None:
    """A first answer with cold caches is no verdict for ever."""
    works(registry, adds(registry, "quick"), 0.02)
    slow = adds(registry, "slow")
    works(registry, slow, 0.5)
    assert shares(registry) == {"quick": 1.0}

    clock.passes(8)
    assert set(shares(registry)) == {"quick", "slow"}
    works(registry, slow, 0.5)
    assert shares(registry) == {"quick": 1.0}


def test_older_calls_do_not_keep_the_breaker_open(registry: Registry, clock: Clock) -> None:
    """Twenty steps on an agent that stands still fail at the same moment: that is one outage, not twenty."""
    instance = adds(registry)
    for _ in range(20):
        registry.record_start(instance)
    clock.passes(6)
    for _ in range(20):
        registry.record_end(instance, seconds=6.0, error="silent", blame=True)
    assert chosen(registry) is None

    clock.passes(1.3)

    assert chosen(registry) == "a"


def folder(place: str, *files: str) -> dict[str, Any]:
    return {"folder": {"path": f"/{place}", "place": place, "sketch": list(files)}}


def test_instance_with_other_documents_is_refused(registry, clock):
    """It says who is there and what to do. It gets the name when the first has fallen silent; then that is refused."""
    first, second = folder("1", "a", "b"), folder("2", "c", "d")
    adds(registry, "a", metadata=first)

    with pytest.raises(Conflict, match=r"named 'agent' \(a at http://a\).*_DIR is /1.*is /2.*Stop one"):
        adds(registry, "b", metadata=second)
    adds(registry, "a", metadata=first)
    clock.passes(LEASE_SECONDS + 1)
    adds(registry, "b", metadata=second)
    with pytest.raises(Conflict):
        adds(registry, "a", metadata=first)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (folder("1", "a", "b"), folder("1", "c", "d")),
        (folder("1", "a", "b", "c"), folder("2", "b", "c")),
        (folder("1", "a"), folder("2")),
        (folder("1", "a"), {}),
        ({"folder": "something else"}, folder("1", "a")),
    ],
    ids=["one place, files changed", "copies, one changed", "nothing known of the files", "of another version", "odd"],
)
def test_replicas_are_not_refused(registry, one, other):
    adds(registry, "a", metadata=one)
    adds(registry, "b", metadata=other)

    assert len(registry.list_all()) == 2


def test_other_names_and_draining_instances_are_in_nobodys_way(registry):
    adds(registry, "a", metadata=folder("1", "a"))
    adds(registry, "b", name="other", metadata=folder("2", "b"))
    adds(registry, "a", metadata=folder("1", "a"), draining=True)
    adds(registry, "c", metadata=folder("3", "c"))

    assert len(registry.list_all()) == 3


def test_choice_among_healthy_instances_is_even(registry: Registry) -> None:
    """Of 300 only some are looked at: none is forgotten, and one that can is found wherever it stands."""
    for n in range(300):
        adds(registry, f"w{n}")
    asked = {chosen(registry) for _ in range(2_000)}
    for instance in registry.list_all()[:-1]:
        registry.suspect(instance, "gone")

    assert len(asked) > 280
    assert chosen(registry) == registry.list_all()[-1].id


def test_agent_can_do_what_it_said_last(registry: Registry) -> None:
    """What an agent can do is what it said last."""
    one = adds(registry, "w", name="w", capabilities=["old", "both"])
    registry.register(one.id, one.registration.model_copy(update={"capabilities": ["both", "new"]}))

    found = {name: registry.find(capability=name, agent=None) for name in ("old", "both", "new")}
    registry.remove(one.id)

    assert found == {"old": [], "both": [one], "new": [one]}
    assert registry.find(capability="both", agent=None) == []
    assert "w" not in registry.list_names()
