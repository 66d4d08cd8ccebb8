"""What a façade is mounted on, and which façades every service has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request

from shared.conversation import Face
from shared.memory.store import Memory
from shared.protocols.sharing import Shared
from shared.server.app import App

BASE = "Muster-Base"  # the header in which the gateway says where its callers reach an agent


@dataclass(frozen=True)
class Host:
    """A service that façades are mounted on.

    `folder` is where a façade may keep files (None: nowhere, as with `DATABASE_URL=memory:`), `secured` whether
    callers must send a key, `public_url` the address that cards show (None: the request's Host; requests through the
    gateway always see the gateway's), `private` whether calls to private addresses are allowed. `memory` is what the
    service remembers, `features` what KAOS's card says it can do besides what its skills tell. `get_shared` gives what
    it has in common with other processes, once it is open.
    """

    app: App[Any]
    face: Face
    folder: Path | None = None
    secured: bool = False
    public_url: str | None = None
    private: bool = True
    memory: Memory | None = None
    features: tuple[str, ...] = ()
    get_shared: Callable[[], Shared | None] = lambda: None

    def get_base(self, request: Request) -> str:
        """The address that cards show to the caller of `request`, without a slash at its end."""
        return (request.headers.get(BASE) or self.public_url or str(request.base_url)).rstrip("/")


Mount = Callable[[Host], None]


def mount(host: Host, facades: Sequence[Mount]) -> None:
    """Mounts the façades in this order, which is the order in which their routes are tried."""
    for facade in facades:
        facade(host)
