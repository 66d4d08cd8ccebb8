"""How much of the room for open tasks one key or tenant may take."""

from __future__ import annotations

import pytest

from coordinator.admission.room import MOST_NAMES, OTHERS, Room
from coordinator.tasks.lane import Lane


def fill(room: Room, lane: Lane, most: int, taken: int = 0) -> int:
    """Opens tasks of a lane until it has no room; how many."""
    for n in range(most + 1):
        if not room.has_room(lane, taken + n):
            return n
        room.take(lane)
    raise AssertionError("more than all")


def room_of(most: int, *, told_apart: bool = False, weights: dict[str | None, float] | None = None) -> Room:
    return Room(most, weight_of=lambda key: (weights or {}).get(key, 1.0), told_apart=lambda: told_apart)


@pytest.mark.parametrize("most", [1, 5, 1_064])
def test_nobody_in_particular_has_all(most: int) -> None:
    assert fill(room_of(most), Lane("api_key"), most) == most


@pytest.mark.parametrize(("most", "noisy"), [(1, 1), (2, 1), (5, 3), (1_064, 709)])
def test_one_tenant_leaves_room_for_others(most: int, noisy: int) -> None:
    room = room_of(most)

    assert fill(room, Lane(None, "noisy"), most) == noisy
    assert room.has_room(Lane(None, "quiet"), noisy) == (noisy < most)


def test_several_noisy_tenants_leave_room() -> None:
    room, taken = room_of(1_064), 0
    for n in range(5):
        taken += fill(room, Lane(None, f"noisy{n}"), 1_064, taken)

    assert taken < 1_064
    assert room.has_room(Lane(None, "quiet"), taken)


def test_names_of_a_key_add_nothing_to_it() -> None:
    """However many tenants it names, the other key has its room."""
    room, taken = room_of(1_064, told_apart=True), 0
    for n in range(300):
        taken += fill(room, Lane("noisy", f"t{n}"), 1_064, taken)

    assert taken <= 709
    assert fill(room, Lane("quiet"), 1_064, taken) > 100


def test_key_of_less_weight_has_less_room() -> None:
    light = fill(room_of(1_000, told_apart=True, weights={"light": 0.25}), Lane("light"), 1_000)

    assert 300 <= light <= 350


def test_further_names_share_one_lane() -> None:
    room = room_of(1_064)
    lanes = {room.take(Lane(None, f"t{n}")) for n in range(MOST_NAMES + 50)}

    assert len(lanes) == MOST_NAMES + 1
    assert Lane(None, OTHERS) in lanes
    for lane in [*lanes, *[Lane(None, OTHERS)] * 49]:
        room.give_back(lane)
    assert room.take(Lane(None, "t149")) == Lane(None, "t149")
