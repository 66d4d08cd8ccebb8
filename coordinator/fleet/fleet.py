"""This coordinator as one of several that share a journal in PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import asyncpg

from coordinator.access.sessions import Sessions
from coordinator.agent_pool.pool import Agents
from coordinator.fleet.agents import SharedAgents
from coordinator.fleet.carried import Carried
from coordinator.fleet.clock import SharedClock
from coordinator.fleet.dispatcher import FleetDispatcher
from coordinator.fleet.jobs import Jobs
from coordinator.fleet.leaving import Leaving
from coordinator.fleet.members import BEAT_SECONDS, GONE_SECONDS, Members
from coordinator.fleet.news import News
from coordinator.fleet.sessions import SharedSessions
from coordinator.journal.events import Feed
from coordinator.journal.store import Store
from shared import logs
from shared.background import Background
from shared.db.postgres.connection import LOST, REFUSED
from shared.db.postgres.database import Postgres
from shared.db.postgres.refusals import refuse_tables
from shared.errors import MusterError
from shared.protocols.sharing import Shared
from shared.server.app import Drain, Stopping

CONNECTIONS = 5  # for the queue and the news
LOSABLE = {"synchronous_commit": "off"}  # the rows of tasks are the truth: what is lost of the queue, comes again
CLOSE_SECONDS = 3.0  # for jobs to be handed back
TIDY_EVERY = 60  # beats


async def open_fleet(
    stack: AsyncExitStack,
    *,
    db: Postgres,
    store: Store,
    dispatcher: FleetDispatcher,
    agents: Agents,
    feed: Feed,
    sessions: Sessions,
    background: Background,
    clock: SharedClock,
    identity: str,
    address: str,
    at_once: int,
    stopping: Stopping,
    drain_seconds: float,
) -> tuple[Drain, Shared]:
    """Joins the other coordinators, until the stack closes; returns what comes before a stop, and what they share.

    Raises what a database that cannot be used raises.
    """
    pool = await db.connector.make_pool(CONNECTIONS, LOSABLE)
    stack.callback(pool.terminate)
    members = Members(store, identity, address, clock.read)
    shared = SharedAgents(agents, members, store)
    log_outs = SharedSessions(sessions, store, clock.read)
    jobs = Jobs(
        pool,
        carrier=identity,
        at_once=at_once,
        carry=dispatcher.carry_job,
        cancel=dispatcher.cancel_here,
        wall=clock.read,
        at=db.at,
    )
    news = News(db.connector.connect, feed.wake)
    dispatcher.join(Carried(store, identity), news, jobs)
    try:
        await jobs.install()
    except (*LOST, asyncpg.PostgresError) as exc:
        raise refuse_tables(exc) from exc
    db.follow(jobs)
    await members.beat()
    await shared.look()
    stack.push_async_callback(_leave, jobs, members)
    stack.push_async_callback(dispatcher.close)  # first: the jobs that run are handed back
    background.loop("clock-of-all", lambda: clock.measure_forever(db))
    background.loop("queue", jobs.run_forever)
    background.loop("news", news.listen_forever)
    background.loop("fleet", lambda: _keep(db, jobs, members, shared, dispatcher, log_outs))
    leaving = Leaving(members, jobs, dispatcher, stopping, seconds=drain_seconds)
    return leaving.drain, Shared(identity, db, clock.read, gone_seconds=GONE_SECONDS, watch=news.watch)


async def _leave(jobs: Jobs, members: Members) -> None:
    await jobs.close(CLOSE_SECONDS)
    await members.leave()


async def _keep(
    db: Postgres,
    jobs: Jobs,
    members: Members,
    shared: SharedAgents,
    dispatcher: FleetDispatcher,
    log_outs: SharedSessions,
) -> None:
    """Once a second: says that this coordinator is there, and looks what the others have changed."""
    beats = 0
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        beats += 1
        try:
            await members.beat()
            jobs.coordinators = len(members.there) or 1
            db.tell(jobs.coordinators > 1)
            await shared.look()
            await log_outs.look()
            await dispatcher.look_around()
            await members.store.move_past(0)
            await jobs.fill()
            if beats % TIDY_EVERY == 0:
                await jobs.forget_old()
                await members.forget_gone()
                log_outs.forget_old()
        except (MusterError, *LOST, *REFUSED) as exc:
            logs.get().warning("fleet.unseen", why=str(exc))
