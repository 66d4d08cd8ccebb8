"""Says in the log where the console is, once agents are there to work: the last line of a start."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from coordinator.agents.registry import Registry
from shared import logs
from shared.contracts import AgentStatus

LOOK_SECONDS = 0.25
LOOKS = 80  # agents that come after these 20 s are not waited for
NEEDED = frozenset({"research", "analyze", "report"})  # by a task without a plan
_HERE = {"0.0.0.0", "127.0.0.1", "::", "::1"}


async def say_where(url: str, registry: Registry) -> None:
    """Waits until a task without a plan could run, at most 20 s, and says `Open http://localhost:8000`."""
    for _ in range(LOOKS):
        if _find_able(registry) >= NEEDED:
            break
        await asyncio.sleep(LOOK_SECONDS)
    await asyncio.sleep(LOOK_SECONDS)  # the lines about the agents come first
    logs.get().info(f"Open {name_localhost(url)}")


def name_localhost(url: str) -> str:
    """The URL as people type it: an address of this machine is `localhost`."""
    parts = urlsplit(url)
    if parts.hostname not in _HERE:
        return url
    return parts._replace(netloc=f"localhost:{parts.port}" if parts.port else "localhost").geturl()


def _find_able(registry: Registry) -> set[str]:
    healthy = (one for one in registry.list_all() if one.status is AgentStatus.HEALTHY)
    return {capability for one in healthy for capability in one.registration.capabilities}
