"""A wall clock that jumps is believed a day later, also across restarts; small corrections are believed at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from coordinator.journal.clocks import BELIEVED_SECONDS, Boot, SettledClock, find_boot
from coordinator.journal.migrations import MIGRATIONS
from shared.db.memory import MemoryDatabase

HOUR = 3_600.0


@dataclass
class Machine:
    """One whose clocks stand until a test sets them."""

    db: MemoryDatabase = field(default_factory=MemoryDatabase)
    boot: str = "b1"
    wall: float = 1_700_000_000.0
    since_boot: float = 100.0

    def off(self, seconds: float) -> None:
        self.wall += seconds
        self.since_boot += seconds

    async def start(self) -> SettledClock:
        boot = Boot(self.boot, lambda: self.since_boot)
        clock = SettledClock(self.db, wall=lambda: self.wall, now=lambda: self.since_boot, boot=boot)
        await clock.open()
        return clock


@pytest.fixture
async def machine() -> Machine:
    found = Machine()
    await found.db.open(MIGRATIONS, {"packed": str, "opens": str, "seal": lambda *parts: hash(parts) % 1_000})
    return found


@pytest.mark.parametrize("restarts", [False, True])
async def test_jump_ahead_counts_a_day_later(machine: Machine, restarts: bool) -> None:
    clock = await machine.start()
    right = machine.wall

    machine.wall += HOUR
    clock = await machine.start() if restarts else clock
    await clock.look()
    before = clock()
    machine.off(BELIEVED_SECONDS + 1)
    clock = await machine.start() if restarts else clock
    await clock.look()

    assert before == right
    assert clock() == machine.wall


async def test_jump_back_counts_at_once(machine: Machine) -> None:
    """What is deleted by its age has more time then, not less; deadlines do not move."""
    clock = await machine.start()
    right = machine.wall

    machine.wall -= HOUR
    await clock.look()

    assert (clock(), clock.read_unmoved()) == (machine.wall, right)


async def test_there_and_back_is_as_before(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """The log tells of both jumps."""
    clock = await machine.start()
    for jump in (HOUR, -HOUR):
        machine.wall += jump
        await clock.look()
    machine.off(HOUR)

    assert clock() == machine.wall == clock.read_unmoved()
    assert len(re.findall("clock.jumped", capsys.readouterr().out)) == 2


async def test_second_jump_waits_for_its_own_day(machine: Machine) -> None:
    clock = await machine.start()
    machine.wall += HOUR
    await clock.look()
    machine.off(BELIEVED_SECONDS - 60)
    right = machine.wall - HOUR

    machine.wall += 30 * BELIEVED_SECONDS
    await clock.look()
    machine.off(120)
    await clock.look()

    assert clock() == right + 120


async def test_correction_is_believed_at_once(machine: Machine) -> None:
    """Also many, one after another: a clock that is kept in step with a server."""
    clock = await machine.start()
    for _ in range(5):
        machine.wall += 30
        await clock.look()

    assert clock() == machine.wall


async def test_other_boot_believes_the_wall_clock(machine: Machine) -> None:
    """Nothing else tells how long the machine was off."""
    await machine.start()
    machine.boot, machine.since_boot = "b2", 5.0
    machine.wall += 365 * 24 * HOUR

    assert (await machine.start())() == machine.wall


def test_boot_of_this_machine_is_the_same_twice() -> None:
    one, two = find_boot(), find_boot()

    assert one is not None
    assert two is not None
    assert one.id == two.id
    assert re.fullmatch("[0-9a-f]{8}", one.id)
    assert 0 < one.read() <= two.read()
