"""Guests: who holds little need not wait until the tasks of others end."""

from __future__ import annotations

from coordinator.admission.guests import Guests
from coordinator.tasks.lane import Lane
from tests.support.fakes import Held, Network, Suite, agent, eventually

NOISY, QUIET = Lane(None, "noisy"), Lane(None, "quiet")
WORK = [{"id": "w", "agent": "slow"}]


def holding(lane: Lane, many: int, *, places: int = 16) -> Guests:
    guests = Guests(places)
    for _ in range(many):
        guests.take(lane, beyond=False)
    return guests


def test_who_is_alone_is_no_guest() -> None:
    assert not Guests(16).may_come(NOISY)
    assert not holding(NOISY, 16).may_come(NOISY)
    assert not holding(Lane(None), 16).may_come(Lane(None))


def test_another_tenant_is_a_guest_up_to_half_its_part() -> None:
    """Of 16 places two have 8 each."""
    guests = holding(NOISY, 16)
    for _ in range(4):
        assert guests.may_come(QUIET)
        guests.take(QUIET, beyond=False)

    assert not guests.may_come(QUIET)


def test_a_quarter_of_the_places_are_for_guests() -> None:
    guests = holding(NOISY, 16)
    for number in range(4):
        guests.take(Lane(None, f"t{number}"), beyond=True)
    assert not guests.may_come(QUIET)

    guests.give_back(Lane(None, "t0"), beyond=True)
    assert guests.may_come(QUIET)


def test_few_places_have_no_guests() -> None:
    assert not holding(NOISY, 3, places=3).may_come(QUIET)


def test_names_of_tenants_add_nothing_to_a_key() -> None:
    """A key that holds its part brings no guests, whatever their names."""
    guests = holding(Lane("a", "one"), 16)
    guests.take(Lane("b"), beyond=False)

    assert not guests.may_come(Lane("a", "two"))
    assert guests.may_come(Lane("b", "two"))


async def test_a_quiet_tenant_starts_at_once(network: Network) -> None:
    """Another one holds all the places of an agent that answers, and has more waiting."""
    slow = Held()
    noisy = {"Muster-Tenant": "noisy"}
    async with Suite(network, agent("slow", "work", slow), max_concurrent_tasks=8) as suite:
        places = suite.services.admission.places
        for _ in range(4):  # answers while it has all it may have
            slow.let_go.clear()
            before = len(slow.began)
            tasks = [await suite.begin(plan=WORK, headers=noisy) for _ in range(8)]
            await eventually(lambda before=before: len(slow.began) > before + 3)
            slow.let_go.set()
            for task in tasks:
                await suite.ended(task)
        slow.let_go.clear()
        for _ in range(12):
            await suite.begin(plan=WORK, headers=noisy)
        await eventually(lambda: (places.running, places.queued) == (8, 4))

        quiet = await suite.begin(plan=WORK, headers={"Muster-Tenant": "quiet"})

        await eventually(lambda: (places.running, places.queued) == (9, 4))
        assert (await suite.task(quiet)).status == "running"
        slow.let_go.set()
        assert (await suite.ended(quiet)).status == "completed"
    assert (places.running, places.guests.here) == (0, 0)


async def test_a_guest_does_not_go_to_an_agent_that_hangs(network: Network) -> None:
    hung = Held()
    async with Suite(network, agent("slow", "work", hung), max_concurrent_tasks=8) as suite:
        for _ in range(9):
            await suite.begin(plan=WORK, headers={"Muster-Tenant": "noisy"})
        await eventually(lambda: len(hung.began) == 4)

        quiet = await suite.begin(plan=WORK, headers={"Muster-Tenant": "quiet"})

        await eventually(lambda: suite.services.admission.queued == 6)
        assert (await suite.task(quiet)).status == "queued"
        hung.let_go.set()
