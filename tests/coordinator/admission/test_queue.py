"""The order in which waiting tasks start."""

from __future__ import annotations

from collections import Counter

from coordinator.admission.queue import MOST_DEAD, FairQueue
from coordinator.admission.seat import Seat, Wait
from coordinator.tasks.lane import Lane

WORK = ((None, "worker"),)


def queue_of(*lanes: Lane, each: int, weights: dict[str | None, float] | None = None) -> FairQueue[Wait]:
    """So many tasks of each lane, one lane after the other."""
    queue: FairQueue[Wait] = FairQueue(lambda key: (weights or {}).get(key, 1.0))
    for n in range(each * len(lanes)):
        queue.add(Wait(Seat(lanes[n // each], 5, n), WORK))
    return queue


def take(queue: FairQueue[Wait], many: int) -> list[Lane]:
    found = [queue.take(lambda _: "worker") for _ in range(many)]
    return [f[0].seat.lane for f in found if f is not None]


def test_keys_take_turns() -> None:
    a, b = Lane("a"), Lane("b")

    assert take(queue_of(a, b, each=3), 7) == [a, b, a, b, a, b]


def test_weights_divide_the_starts() -> None:
    queue = queue_of(Lane("a"), Lane("b"), each=100, weights={"a": 3.0, "b": 1.0})

    assert Counter(take(queue, 80)) == {Lane("a"): 60, Lane("b"): 20}


def test_tenants_divide_their_keys_share() -> None:
    """A key gains nothing by naming more tenants."""
    queue = queue_of(*(Lane("a", f"t{n}") for n in range(9)), Lane("b"), each=90)

    started = Counter(lane.key for lane in take(queue, 90))

    assert started == {"a": 45, "b": 45}


def test_newcomer_has_saved_nothing_up() -> None:
    """Who comes late takes turns from then on, and does not catch up."""
    queue = queue_of(Lane(None, "early"), each=100)
    take(queue, 50)
    for n in range(50):
        queue.add(Wait(Seat(Lane(None, "late"), 5, 100 + n), WORK))

    assert Counter(lane.tenant for lane in take(queue, 20)) == {"early": 10, "late": 10}


def test_priority_orders_one_tenant_only() -> None:
    queue = queue_of(Lane(None, "patient"), each=2)
    for n, priority in enumerate((1, 9)):
        queue.add(Wait(Seat(Lane(None, "urgent"), priority, 2 + n), WORK))

    found = [queue.take(lambda _: "worker") for _ in range(4)]

    seats = [(f[0].seat.lane.tenant, f[0].seat.priority) for f in found if f is not None]
    assert seats == [
        ("patient", 5),
        ("urgent", 9),
        ("patient", 5),
        ("urgent", 1),
    ]


def test_what_may_not_start_holds_up_nobody() -> None:
    """Behind a thousand tasks for a full agent, those for another one start; in their order."""
    queue = queue_of(Lane(), each=1_000)
    for n in range(3):
        queue.add(Wait(Seat(Lane(), 5, 1_000 + n), ((None, "other"),)))

    found = [queue.take(lambda w: "other" if w.targets != WORK else None) for _ in range(4)]

    assert [f and f[0].seat.order for f in found] == [1_000, 1_001, 1_002, None]


def test_what_waits_no_more_is_forgotten() -> None:
    """Tasks that time out behind one that cannot start leave nothing in memory."""
    queue = queue_of(Lane(), each=1)
    for n in range(10_000):
        wait = Wait(Seat(Lane(), 5, n + 1), WORK)
        queue.add(wait)
        queue.discard(wait)

    assert len(queue) == 1
    assert len(queue._keys[None].tenants[None].heaps[WORK].entries) <= MOST_DEAD + 1
    assert len(take(queue, 2)) == 1
    assert queue._keys == {}
