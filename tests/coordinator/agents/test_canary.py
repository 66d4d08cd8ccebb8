"""Canaries on a clock of their own: when one is due, and what no answer means for its instance and its breaker."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.agents.canary import HELD_SECONDS, find_due
from coordinator.agents.instance import Instance
from coordinator.agents.registry import LEASE_SECONDS, Registry
from shared.contracts import AgentStatus
from tests.coordinator.agents.test_registry import HEALTHY, UNREACHABLE, Clock, adds, chosen, clock, fails, registry

__all__ = ["clock", "registry"]


def takes(registry: Registry, id: str = "a", **changes: Any) -> Instance:
    """An instance that takes canaries; it has no lease, so that only canaries tell."""
    return adds(registry, id, **{"canary": True, "instance": None} | changes)


def due_in(instance: Instance, clock: Clock) -> float | None:
    due = find_due(instance, clock())
    return None if due is None else due - clock()


def leaves_unanswered(registry: Registry, instance: Instance, times: int = 1) -> None:
    for _ in range(times):
        registry.record_canary(instance, "no answer", seconds=4.0)


def answers(registry: Registry, instance: Instance) -> bool:
    return registry.record_canary(instance, None, seconds=0.01)


# --- when it is due ---------------------------------------------------------------------------------


def test_canary_is_due_ten_seconds_after_an_answer(registry: Registry, clock: Clock) -> None:
    """The answer to a real step counts as well as that to a canary, and registering as if it were one."""
    instance = takes(registry)
    assert due_in(instance, clock) == 10
    clock.passes(8)
    registry.record_start(instance)
    registry.record_end(instance, seconds=0.1, error=None, blame=False)
    assert due_in(instance, clock) == 10
    clock.passes(9)
    instance.canary_at = clock()

    assert due_in(instance, clock) == 10


def test_failed_steps_are_no_answer(registry: Registry, clock: Clock) -> None:
    instance = takes(registry)
    clock.passes(9)
    fails(registry, instance)

    assert due_in(instance, clock) == 1


@pytest.mark.parametrize(
    "changes", [{"canary": False}, {"protocol": "openai"}, {"protocol": "a2a"}, {"draining": True}, {"canary": None}]
)
def test_agents_that_take_none_get_none(registry: Registry, clock: Clock, changes: dict[str, Any]) -> None:
    """Nor do those that are to get no steps anyway."""
    assert due_in(takes(registry, **changes), clock) is None


def test_unreachable_or_silent_agents_get_none(registry: Registry, clock: Clock) -> None:
    """Probes and heartbeats tell of them."""
    away, silent = takes(registry, "away"), takes(registry, "silent", instance="silent")
    registry.record_probe("away", "refused")
    clock.passes(LEASE_SECONDS + 0.1)

    assert [due_in(i, clock) for i in (away, silent)] == [None, None]


def test_unanswered_canary_is_repeated_after_two_seconds(registry: Registry, clock: Clock) -> None:
    instance = takes(registry)
    instance.canary_at = clock()
    leaves_unanswered(registry, instance)
    assert due_in(instance, clock) == 2
    answers(registry, instance)

    assert due_in(instance, clock) == 10


def test_wanted_canary_is_due_at_once(registry: Registry, clock: Clock) -> None:
    instance = takes(registry)
    instance.canary_wanted = True

    assert due_in(instance, clock) == 0


# --- out of rotation --------------------------------------------------------------------------------


def test_two_unanswered_canaries_take_an_instance_out(registry: Registry, clock: Clock) -> None:
    """A good probe does not bring it back, an answered canary does."""
    instance = takes(registry)
    leaves_unanswered(registry, instance)
    assert (instance.status, chosen(registry)) == (HEALTHY, "a")
    leaves_unanswered(registry, instance)
    registry.record_probe("a", None)
    assert (instance.status, chosen(registry)) == (UNREACHABLE, None)
    assert instance.last_error == "It left 2 canaries in a row unanswered: no answer"
    assert due_in(instance, clock) is not None

    assert answers(registry, instance)
    assert (instance.status, instance.last_error, chosen(registry)) == (HEALTHY, None, "a")


def test_one_unanswered_canary_between_answers_is_nothing(registry: Registry) -> None:
    instance = takes(registry)
    for _ in range(5):
        leaves_unanswered(registry, instance)
        answers(registry, instance)

    assert instance.status is HEALTHY


@pytest.mark.parametrize(("instances", "out"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)])
def test_at_most_half_of_a_name_is_out(registry: Registry, instances: int, out: int) -> None:
    """Half of one is none, and of the only one its callers would hear nothing until their deadline: so always one."""
    everyone = [takes(registry, f"a{i}") for i in range(instances)]
    for instance in everyone:
        leaves_unanswered(registry, instance, 3)

    assert sum(i.status is UNREACHABLE for i in everyone) == out


def test_at_most_half_of_all_is_out(registry: Registry) -> None:
    """A starved box: each name has one instance only, and none of them answers in time."""
    everyone = [takes(registry, name, name=name) for name in ("researcher", "analyzer", "reporter")]
    for instance in everyone:
        leaves_unanswered(registry, instance, 3)

    assert [i.status for i in everyone] == [UNREACHABLE, HEALTHY, HEALTHY]


def test_place_among_those_out_is_free_again(registry: Registry) -> None:
    """It goes to one that still leaves its canaries unanswered."""
    one, two = takes(registry, "one"), takes(registry, "two")
    for instance in (one, two):
        leaves_unanswered(registry, instance, 2)
    answers(registry, one)
    leaves_unanswered(registry, two)

    assert (one.status, two.status) == (HEALTHY, UNREACHABLE)


def test_instance_without_heartbeat_stays_away(registry: Registry, clock: Clock) -> None:
    """Though a canary that was under way is answered."""
    instance = takes(registry, instance="a")
    leaves_unanswered(registry, instance, 2)
    clock.passes(LEASE_SECONDS + 0.1)
    registry.expire_leases()
    assert not answers(registry, instance)
    takes(registry, instance="a")

    assert instance.status is HEALTHY


def test_instance_that_takes_no_more_canaries_is_judged_by_probes(registry: Registry) -> None:
    """An older version was started in its place."""
    instance = takes(registry)
    leaves_unanswered(registry, instance, 2)
    takes(registry, canary=False)

    assert instance.status is HEALTHY


def test_draining_instance_is_not_taken_out(registry: Registry) -> None:
    instance = takes(registry)
    takes(registry, draining=True)
    leaves_unanswered(registry, instance, 2)

    assert instance.status is AgentStatus.DRAINING


# --- the breaker ------------------------------------------------------------------------------------


def test_answered_canary_lets_one_step_try(registry: Registry, clock: Clock) -> None:
    """An open breaker waits for a canary every two seconds."""
    instance = takes(registry)
    fails(registry, instance, 5)
    assert (due_in(instance, clock), chosen(registry)) == (2, None)
    clock.passes(HELD_SECONDS - 1)
    instance.canary_at = clock()
    leaves_unanswered(registry, instance)
    assert (due_in(instance, clock), chosen(registry)) == (2, None)
    clock.passes(2)

    answers(registry, instance)

    assert (instance.find_breaker_state(clock()), chosen(registry)) == ("half_open", "a")
    registry.record_start(instance)
    assert chosen(registry) is None
    registry.record_end(instance, seconds=0.1, error=None, blame=False)
    assert instance.find_breaker_state(clock()) == "closed"


def test_failed_trial_waits_for_the_next_canary(registry: Registry, clock: Clock) -> None:
    instance = takes(registry)
    fails(registry, instance, 5)
    clock.passes(2)
    answers(registry, instance)
    fails(registry, instance)

    assert (due_in(instance, clock), chosen(registry)) == (2, None)


def test_open_breaker_without_canaries_lets_a_step_try(registry: Registry, clock: Clock) -> None:
    """The limit of canaries is used up by others, say."""
    instance = takes(registry)
    fails(registry, instance, 5)
    clock.passes(HELD_SECONDS)

    assert chosen(registry) == "a"


def test_outage_is_tried_every_five_seconds(registry: Registry, clock: Clock) -> None:
    """However long it was: with the second that a waiting step looks again after."""
    instance = adds(registry, instance=None)
    fails(registry, instance, 5)
    for _ in range(20):
        clock.passes(4)
        assert chosen(registry) == "a"
        fails(registry, instance)
        assert chosen(registry) is None
