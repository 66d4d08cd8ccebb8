"""Requests to agents that are no steps, signed where the suite has a key: a worker takes no other there."""

from __future__ import annotations

import httpx

from coordinator.agents.instance import Instance
from coordinator.api.dependencies import Services
from shared.limits.envelope import HEADER, derive_key
from shared.limits.passing import seal_passing


def is_signed(instance: Instance, services: Services) -> bool:
    """Whether requests to this agent carry a signature."""
    return services.secured and instance.registration.protocol == "muster"


def sign(request: httpx.Request, instance: Instance, services: Services, *, body: bytes = b"") -> None:
    """Signs a request whose body is this, as its agent sees it: its path is what follows the agent's endpoint."""
    if not is_signed(instance, services):
        return
    prefix = httpx.URL(instance.registration.endpoint).raw_path.rstrip(b"/")
    request.headers[HEADER] = seal_passing(
        request.method,
        request.url.raw_path.removeprefix(prefix).decode("latin-1"),
        key=derive_key(services.secret, instance.id),
        body=body,
        milliseconds=int(services.settings.request_timeout * 1000),
    )
