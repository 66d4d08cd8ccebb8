"""A simulated suite: a coordinator and its agents as services on one network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from coordinator.app import create_app
from coordinator.journal.clocks import Boot
from shared.agent import Agent
from shared.settings import CoordinatorSettings, WorkerSettings
from shared.worker.app import create_worker_app
from tests.simulation.world.history import Recording
from tests.simulation.world.network import Network
from tests.simulation.world.process import Process
from tests.simulation.world.services import Service
from tests.simulation.world.wire import Wire

API_KEY = "canary-api-key-5b1f0c"  # I10: it must be in no log, event or answer
WORKER_KEY = "canary-worker-key-77aa01"
COORDINATOR = "coordinator"


class SimulatedSuite:
    """The services by host name; to be used with `async with`."""

    def __init__(
        self, *, seed: int, folder: Path, recording: Recording, clocks: Any, settings: dict[str, Any] | None = None
    ) -> None:
        self.seed = seed
        self.folder = folder
        self.recording = recording
        self.clocks = clocks
        self.network = Network(self.make_random("network"), recording)
        self.services: dict[str, Service] = {}
        self._settings = settings or {}
        self._running: list[asyncio.Task[None]] = []

    def make_random(self, name: str) -> Random:
        """A stream of chance of its own, so that a change in one part does not move the others'."""
        return Random(f"{self.seed}/{name}")

    @property
    def coordinator(self) -> Service:
        return self.services[COORDINATOR]

    @property
    def journal(self) -> Path:
        return self.folder / COORDINATOR / "muster.db"

    def wire(self) -> Wire:
        return Wire(self.network)

    def add_coordinator(self) -> None:
        settings = CoordinatorSettings(
            _env_file=None,
            **{"database_url": f"sqlite:///{self.journal}", "api_key": API_KEY, "worker_key": WORKER_KEY}
            | {"private_webhooks": True, "memory_enabled": False}
            | self._settings,
        )

        def build(process: Process) -> Any:
            return create_app(
                settings,
                inner=self.wire(),
                now=self.clocks.monotonic,
                wall=self.clocks.wall,
                boot=lambda: Boot("one-boot", self.clocks.since_boot),
                random=self.make_random(f"{process.name}/{process.life}"),
                at=process.at,
            )

        self.add(COORDINATOR, build)

    def add_agent(self, agent: Agent, host: str | None = None) -> None:
        """An agent of Muster at `http://host` (its name, if not said)."""
        host = host or agent.name
        settings = WorkerSettings(
            _env_file=None, coordinator_url="http://coordinator", api_key=WORKER_KEY, memory_enabled=False
        )

        def build(process: Process) -> Any:
            return create_worker_app(
                agent,
                settings=settings,
                endpoint=f"http://{host}",
                state_dir=process.disk.folder,
                inner=self.wire(),
                now=self.clocks.monotonic,
            )

        self.add(host, build)

    def add(self, host: str, build: Callable[[Process], Any]) -> None:
        """Any ASGI app as a service."""
        self.services[host] = Service(
            host,
            build,
            folder=self.folder,
            network=self.network,
            random=self.make_random(f"service/{host}"),
            recording=self.recording,
        )

    async def __aenter__(self) -> SimulatedSuite:
        for service in self.services.values():
            self._running.append(asyncio.create_task(service.run(), name=f"service:{service.name}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for service in self.services.values():
            await service.close()
        for service in self.services.values():
            service.kill("the end")
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
