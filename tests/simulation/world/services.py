"""The services of a simulation: each is started, killed, stopped and started again, as Compose does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from shared.server.app import App
from tests.simulation.world.files import Disk
from tests.simulation.world.history import Recording
from tests.simulation.world.network import Network
from tests.simulation.world.process import Killed, Process
from tests.simulation.world.virtual_time import NOBODY

GRACE_SECONDS = 8.0  # open connections after a stop, as `serve` has it
RESTART_SECONDS = (0.2, 4.0)

Build = Callable[[Process], Any]  # an App, or a bare ASGI application


class Service:
    """One container: a name, a disk, and one life after the other."""

    def __init__(
        self, name: str, build: Build, *, folder: Path, network: Network, random: Random, recording: Recording
    ) -> None:
        self.name = name
        self.disk = Disk(folder / name, random)
        self.process: Process | None = None
        self.app: Any = None
        self.wall_offset = random.uniform(-0.5, 0.5)
        self.up = asyncio.Event()
        self.up_since = 0.0
        self.refusals: list[tuple[float, str]] = []  # starts that did not succeed, and why
        self.outages: list[tuple[float, float]] = []  # virtual seconds in which it was not there
        self._build = build
        self._network = network
        self._random = random
        self._recording = recording
        self._lives = 0
        self._closing = False
        self._failed_at: float | None = None  # when it began to end because it could not go on

    async def run(self) -> None:
        """Starts it, and again after each end, until `close`."""
        loop = asyncio.get_running_loop()
        down_since = loop.time()
        while not self._closing:
            self._lives += 1
            over = asyncio.Event()
            process = self.process = Process(
                self.name,
                self._lives,
                disk=self.disk,
                wall_offset=self.wall_offset,
                random=self._random,
                recording=self._recording,
            )
            process.on_death.append(over.set)
            process.spawn(self._live(process, over), f"main:{self.name}")
            self._recording.note("started", process=self.name, life=self._lives)
            waiting = asyncio.ensure_future(over.wait())
            upping = asyncio.ensure_future(self.up.wait())
            await asyncio.wait({waiting, upping}, return_when=asyncio.FIRST_COMPLETED)
            upping.cancel()
            if self.up.is_set():
                self.up_since = loop.time()
                self.outages.append((down_since, self.up_since))
            await waiting
            if self.up.is_set():
                down_since = loop.time() if self._failed_at is None else self._failed_at
            self._failed_at = None
            self.up.clear()
            self.app = None
            if not self._closing:
                await asyncio.sleep(self._random.uniform(*RESTART_SECONDS))

    def kill(self, why: str) -> None:
        if self.process is not None:
            self.process.kill(why)

    def stop(self) -> None:
        """SIGTERM."""
        if self.up.is_set() and isinstance(self.app, App):
            self.app.stopping.begin()

    async def close(self) -> None:
        self._closing = True
        self.stop()

    def set_wall(self, offset: float) -> None:
        """Its wall clock jumps."""
        self.wall_offset = offset
        if self.process is not None:
            self.process.wall_offset = offset

    async def _live(self, process: Process, over: asyncio.Event) -> None:
        try:
            app = self._build(process)
            if not isinstance(app, App):
                self._network.host(process, app)
                self.up.set()
                return
            async with app.router.lifespan_context(app):
                self._network.host(process, app)
                self.app = app
                self.up.set()
                await app.stopping.event.wait()
                self._failed_at = asyncio.get_running_loop().time() if app.failed else None
                self._network.shut(process)
                await self._network.drain(process, seconds=GRACE_SECONDS)
        except Killed:
            return
        except Exception as exc:  # the container is started again
            why = f"{type(exc).__name__}: {exc}"
            if self.up.is_set():  # it ends because its disk broke, say
                self._recording.note("broke", process=self.name, why=why)
            else:
                self.refusals.append((asyncio.get_running_loop().time(), why))
                self._recording.note("refused", process=self.name, why=why)
        if process.alive:
            self._recording.note("stopped", process=self.name, life=process.life)
            process.end()
            self._network.unhost(process)
            self.disk.databases.clear()
            NOBODY.copy().run(over.set)
