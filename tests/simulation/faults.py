"""What breaks in a simulation, and when: a schedule of faults drawn from the seed, each undone after a while."""

from __future__ import annotations

import asyncio
from random import Random

from tests.simulation.agents import Behaviour
from tests.simulation.world.network import Rule
from tests.simulation.world.suite import COORDINATOR, SimulatedSuite

KINDS = (
    *("loss", "delay", "duplication", "reset", "one_way", "deaf_way", "mute_way", "partition"),
    *(
        "kill_worker",
        "kill_coordinator",
        "kill_at_await",
        "kill_at_point",
        "power_cut",
        "stop_worker",
        "stop_coordinator",
    ),
    *("slow_disk", "full_disk", "broken_disk", "clock", "slow_agent"),
)
HOUR = 3_600.0


class Faults:
    """Breaks things; `disk_trouble` are the times in which the coordinator could not write."""

    def __init__(self, suite: SimulatedSuite, behaviour: Behaviour, random: Random, points: tuple[str, ...]) -> None:
        self._suite = suite
        self._behaviour = behaviour
        self._random = random
        self._points = points
        self._workers = sorted(set(suite.services) - {COORDINATOR, "receiver"})
        self.disk_trouble: list[tuple[float, float]] = []
        self.jumped: list[float] = []  # when the coordinator's wall clock did

    async def run(self, *, count: int, seconds: float) -> None:
        """So many faults, the last of them undone within the time."""
        at = sorted(self._random.uniform(5.0, seconds) for _ in range(count))
        kinds = [self._random.choice(KINDS) for _ in range(count)]
        async with asyncio.TaskGroup() as group:
            for number, (when, kind) in enumerate(zip(at, kinds, strict=True)):
                group.create_task(self._play(when, kind), name=f"fault:{number}:{kind}")

    async def _play(self, when: float, kind: str) -> None:
        await asyncio.sleep(when)
        random, suite, coordinator = self._random, self._suite, self._suite.coordinator
        worker = random.choice(self._workers)
        seconds = random.uniform(0.5, 15.0)
        suite.recording.fault(kind, worker=worker, seconds=round(seconds, 3))
        match kind:
            case "loss":
                await self._rule(Rule(None, None, drops=random.uniform(0.02, 0.3)), seconds)
            case "delay":
                await self._rule(Rule(None, random.choice((None, worker, COORDINATOR)), seconds=3.0), seconds)
            case "duplication":
                await self._rule(Rule(None, None, doubles=random.uniform(0.1, 1.0)), seconds)
            case "reset":
                await self._rule(Rule(None, random.choice((None, worker)), resets=random.uniform(0.05, 0.5)), seconds)
            case "one_way":  # its calls arrive, and what it is told does not
                await self._rule(Rule(COORDINATOR, worker, drops=1.0, answers=True), seconds)
            case "deaf_way":
                await self._rule(Rule(worker, COORDINATOR, drops=1.0, answers=True), seconds)
            case "mute_way":  # it cannot call, and answers
                await self._rule(Rule(worker, COORDINATOR, drops=1.0), 3 * seconds)
            case "partition":
                rules = (
                    Rule(COORDINATOR, worker, drops=1.0, answers=True),
                    Rule(worker, COORDINATOR, drops=1.0, answers=True),
                )
                await asyncio.gather(*(self._rule(rule, seconds) for rule in rules))
            case "kill_worker":
                suite.services[worker].kill("fault")
            case "kill_coordinator":
                coordinator.kill("fault")
            case "kill_at_await":
                if (process := random.choice((coordinator, suite.services[worker])).process) is not None:
                    process.light_fuse(random.randint(1, 500))
            case "kill_at_point":
                if coordinator.process is not None:
                    coordinator.process.armed = random.choice(self._points)
            case "power_cut":
                await self._cut_power(seconds / 3)
            case "stop_worker":
                suite.services[worker].stop()
            case "stop_coordinator":
                coordinator.stop()
            case "slow_disk":
                await self._trouble(seconds, "seconds", random.choice((0.02, 0.2, 0.5)))
            case "full_disk":
                await self._trouble(seconds, "full", True)
            case "broken_disk":
                await self._trouble(min(seconds, 3.0), "broken", True)
            case "clock":
                one = random.choice((coordinator, coordinator, suite.services[worker]))
                if one is coordinator:
                    self.jumped.append(asyncio.get_running_loop().time())
                one.set_wall(random.choice((-HOUR, HOUR, -1.0, 30.0, 5 * HOUR, 0.0)))
            case "slow_agent":
                self._behaviour.slow[worker] = random.uniform(0.5, 8.0)
                await asyncio.sleep(seconds)
                self._behaviour.slow.pop(worker, None)

    async def _rule(self, rule: Rule, seconds: float) -> None:
        self._suite.network.rules.append(rule)
        await asyncio.sleep(seconds)
        self._suite.network.rules.remove(rule)

    async def _cut_power(self, seconds: float) -> None:
        """Everything at once."""
        network, services = self._suite.network, self._suite.services
        network.dark |= services.keys()
        for service in services.values():
            service.disk.power_cut = True
            service.kill("power cut")
            service.disk.power_cut = False
        await asyncio.sleep(seconds)
        network.dark -= services.keys()

    async def _trouble(self, seconds: float, what: str, value: object) -> None:
        disk, loop = self._suite.coordinator.disk, asyncio.get_running_loop()
        began = loop.time()
        setattr(disk, what, value)
        await asyncio.sleep(seconds)
        setattr(disk, what, type(value)())
        self.disk_trouble.append((began, loop.time()))
