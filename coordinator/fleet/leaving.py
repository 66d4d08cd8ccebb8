"""How a coordinator leaves the others: it takes nothing up any more, and ends what it has begun and owes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from coordinator.fleet.dispatcher import FleetDispatcher
from coordinator.fleet.jobs import Jobs
from coordinator.fleet.members import Members
from shared import logs
from shared.errors import MusterError
from shared.server.app import Stopping

PASSED_OVER_SECONDS = 2.0  # a load balancer that looks once a second has noticed by then
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Leaving:
    """What `App.drain` calls. `seconds` are the most that it takes."""

    members: Members
    jobs: Jobs
    dispatcher: FleetDispatcher
    stopping: Stopping
    seconds: float

    async def drain(self) -> None:
        """Waits until no task runs here and no caller waits, while others are there that stay.

        What then still runs is handed over in the middle of a step.
        """
        now = asyncio.get_running_loop().time
        began = now()
        self.members.leaving = True
        with suppress(MusterError):
            await self.members.beat()
        while (passed := now() - began) < self.seconds and self.members.others:
            self.jobs.stop()
            if passed >= PASSED_OVER_SECONDS and not self._is_busy():
                break
            await asyncio.sleep(LOOK_SECONDS)
        logs.get().info("coordinator.left", seconds=round(passed, 1), tasks=self.dispatcher.open_tasks)

    def _is_busy(self) -> bool:
        return bool(self.dispatcher.open_tasks or self.dispatcher.accepting or self.stopping.owed)
