"""What DATABASE_URL decides: the database, and whether other coordinators share it; nothing is loaded in vain."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from coordinator.execution.dispatcher import Dispatcher
from coordinator.fleet.clock import SharedClock
from coordinator.journal.location import is_server, journal_path
from coordinator.journal.moving.left_behind import refuse_left_behind
from shared.background import Background
from shared.db.database import Database
from shared.db.memory import MemoryDatabase
from shared.db.sqlite import Sqlite
from shared.failpoints import At
from shared.protocols.sharing import Shared
from shared.server.app import Drain, Stopping
from shared.settings import CoordinatorSettings


def make_database(settings: CoordinatorSettings, *, at: At, on_broken: Callable[[str], None]) -> Database:
    """Raises `StorageBroken` for an address that names none, and where a file with tasks was not moved to a server."""
    url, password = settings.database_url, settings.database_password
    if is_server(url):
        refuse_left_behind(url)
        from coordinator.journal.postgres.dialect import DIALECT
        from shared.db.postgres.database import Postgres

        return Postgres(url, DIALECT, password=password.get_secret_value() if password is not None else None, at=at)
    path = journal_path(url)
    return MemoryDatabase(at=at) if path is None else Sqlite(path, at=at, on_broken=on_broken)


def choose_dispatcher(shared: bool) -> type[Dispatcher]:
    """The dispatcher for a journal that is this coordinator's own, or shared."""
    if not shared:
        return Dispatcher
    from coordinator.fleet.dispatcher import FleetDispatcher

    return FleetDispatcher


async def join_fleet(
    stack: AsyncExitStack,
    settings: CoordinatorSettings,
    db: Any,
    store: Any,
    dispatcher: Any,
    agents: Any,
    feed: Any,
    sessions: Any,
    background: Background,
    clock: SharedClock,
    stopping: Stopping,
    *,
    identity: str,
    port: int,
) -> tuple[Drain, Shared]:
    """Joins the other coordinators that share the journal; returns what comes before a stop, and what they share."""
    from coordinator.fleet.fleet import open_fleet

    return await open_fleet(
        stack,
        db=db,
        store=store,
        dispatcher=dispatcher,
        agents=agents,
        feed=feed,
        sessions=sessions,
        background=background,
        clock=clock,
        identity=identity,
        address=settings.advertise_url or f"http://{socket.gethostname()}:{port}",
        at_once=settings.max_concurrent_tasks,
        stopping=stopping,
        drain_seconds=settings.drain_seconds,
    )
