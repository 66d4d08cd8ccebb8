"""A process of the simulation: its name, its clocks, and the moment at which it is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from tests.simulation.world.files import Disk
from tests.simulation.world.history import Recording
from tests.simulation.world.virtual_time import NOBODY, OWNER, SerialTask


class Killed(BaseException):
    """Unwinds the callback in which a process dies; nothing of that process runs afterwards."""


class Process:
    """One life of a named service, from its start to its end.

    `kill` is `kill -9`: no callback of it runs any more. `on_death` are called then, as the operating system does.
    """

    def __init__(
        self, name: str, life: int, *, disk: Disk, wall_offset: float, random: Random, recording: Recording
    ) -> None:
        self.name = name
        self.disk = disk
        self.life = life
        self.alive = self.free = True
        self.wall_offset = wall_offset
        self.monotonic_offset = random.uniform(10.0, 1e6)  # of a machine that has run for a while
        self.on_death: list[Callable[[], None]] = []
        self.armed: str | None = None  # the named point at which it dies
        self.on_death.append(disk.crash)
        self._fuse = 0  # callbacks until it dies
        self._recording = recording
        self._frozen: list[asyncio.Task[Any]] = []

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Runs work as a task of this process."""
        context = NOBODY.copy()
        context.run(OWNER.set, self)
        return context.run(lambda: SerialTask(work, name=name, loop=asyncio.get_running_loop(), context=context))

    def light_fuse(self, callbacks: int) -> None:
        """Kills it before so many more of its callbacks have run: at any await."""
        self._fuse = callbacks
        self.free = False

    def step(self) -> bool:
        if self._fuse:
            self._fuse -= 1
            if not self._fuse:
                self.kill("at an await")
        return self.alive

    def at(self, point: str) -> None:
        """The point function of its services: every durable write and every send has a name."""
        self._recording.points[point] += 1
        if not self.alive:
            raise Killed
        if self.armed == point:
            self.armed = None
            self.kill(f"at {point}")
            raise Killed

    def kill(self, why: str) -> None:
        if not self.alive:
            return
        self.alive = self.free = False
        self._recording.note("killed", process=self.name, life=self.life, why=why)
        loop = asyncio.get_running_loop()
        mine = [t for t in asyncio.all_tasks(loop) if isinstance(t, SerialTask) and t.owner is self]
        self._frozen = sorted(mine, key=hash)  # kept, so that nothing of them is collected and cleans up
        for tell in self.on_death:
            NOBODY.copy().run(tell)

    def end(self) -> None:
        """It has ended by itself."""
        self.alive = self.free = False


def current() -> Any:
    """The process whose code runs; None outside of all."""
    return OWNER.get()
