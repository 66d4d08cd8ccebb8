"""The components that request handlers use, once the coordinator is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import httpx
from fastapi import Depends, Request

from coordinator.access.audit import Audit
from coordinator.access.sessions import Sessions
from coordinator.admission.admission import Admission
from coordinator.agent_pool.pool import Agents
from coordinator.agents.registration_cache import Registrations
from coordinator.execution.delegations import Delegations
from coordinator.execution.dispatcher import Dispatcher
from coordinator.execution.waiting import Waiter
from coordinator.journal.store import Store
from coordinator.observers.meter import Meter
from coordinator.observers.stats import Stats
from coordinator.uploads.folder import Uploads
from shared.protocols.sharing import Shared
from shared.server.app import App, Stopping
from shared.settings import CoordinatorSettings


@dataclass(frozen=True)
class Services:
    """Everything the composition root has built and opened."""

    settings: CoordinatorSettings
    store: Store
    agents: Agents
    dispatcher: Dispatcher
    delegations: Delegations
    registrations: Registrations
    audit: Audit
    uploads: Uploads
    admission: Admission
    stats: Stats
    meter: Meter
    http: httpx.AsyncClient
    secret: bytes
    secured: bool
    sessions: Sessions
    waiter: Waiter
    stopping: Stopping
    now: Callable[[], float]
    wall: Callable[[], float]
    started: float
    sharing: Shared | None

    def uptime(self) -> float:
        return round(self.now() - self.started, 3)


async def get_services(request: Request) -> Services:
    app: App[Services] = request.app
    return app.get_opened()


OpenServices = Annotated[Services, Depends(get_services)]
