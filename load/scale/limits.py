"""What grows with tasks and with coordinators: what a task leaves in PostgreSQL, news to each of many, one queue."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import uvloop
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import EntrypointExecutionParameter, Queries

from load.bare.client import Client
from load.figures.figure import Figure
from load.figures.table import show
from load.peers.rounds import run_full_load
from load.processes.postgres import Server, serve
from load.processes.stage import Stage
from load.processes.usage import read_family_cpu_seconds
from load.scale.subjects import ONE, list_urls, start

MANY = (1, 2, 10, 50)  # coordinators
WRITERS = 8
AT_ONCE = 32
SETTLE_SECONDS = 3.0  # for writes that nobody waits for
NEWS = ",".join([uuid4().hex] * 3)  # of a commit of three tasks
JOBS, BATCH = 100_000, 8
JOB = "job"

Connection = asyncpg.Connection  # without its record's type: this program reads single values


def main() -> int:
    given = _parse_arguments()
    with (
        tempfile.TemporaryDirectory(prefix="muster-limits-") as folder,
        serve(Path(folder), "max_connections=200") as server,
        Stage() as stage,
    ):
        figures = uvloop.run(_measure(stage, server, given.seconds))
    notes = [
        f"The coordinators of news and queue are connections of this program; {WRITERS} of them commit. Turns of "
        f"{given.seconds:g} s. Load average at the end: {os.getloadavg()[0]:.1f}."
    ]
    return show("What grows on PostgreSQL", figures, notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.scale.limits",
        description="Starts a PostgreSQL of its own. Counts what a task of three steps writes and keeps there, then "
        "lets more and more coordinators hear of each commit, and more and more take jobs from one queue. The "
        "figures are those that docs/scale.md reckons with.",
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


async def _measure(stage: Stage, server: Server, seconds: float) -> list[Figure]:
    figures = await _count_task(stage, server, seconds)
    for number in (0, *MANY):
        figures += await _tell(server, number, seconds)
    for number in MANY:
        figures += await _take(server, number, seconds)
    return figures


async def _count_task(stage: Stage, server: Server, seconds: float) -> list[Figure]:
    """What a task writes while it runs, and what is left of it."""
    all_, _ = start(stage, server, {}, at_once=AT_ONCE, names=[ONE])
    muster = all_[ONE]
    database = server.run_sql("postgres", r"SELECT datname FROM pg_database WHERE datname LIKE '%\_1'")
    before: dict[str, float] = {}
    count = 0
    async with Client(list_urls(muster)[0].removeprefix("http://")) as client:
        for turn in range(2):  # the first one only makes pages and functions
            server.run_sql(database, "CHECKPOINT")
            before = _read_sizes(server, database)
            count = len(await run_full_load(client, muster, AT_ONCE, seconds * (turn + 1)))
            await asyncio.sleep(SETTLE_SECONDS)
    after = _read_sizes(server, database)
    stage.end(muster.processes[0])
    return [Figure(f"a task: {name}", (after[name] - before[name]) / count, unit) for name, unit in _UNITS.items()]


_UNITS = {"rows written": "", "kept": "B", "log": "B", "commits": ""}
_SIZES = """
SELECT (SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables),
       (SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables WHERE relname NOT LIKE 'pgqueuer%'),
       pg_current_wal_lsn() - '0/0',
       (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())
"""


def _read_sizes(server: Server, database: str) -> dict[str, float]:
    found = server.run_sql(database, _SIZES).split("|")
    return dict(zip(_UNITS, map(float, found), strict=True))


async def _tell(server: Server, coordinators: int, seconds: float) -> list[Figure]:
    """Commits that each of so many coordinators hears of."""
    heard = 0

    def hear(*_: object) -> None:
        nonlocal heard
        heard += 1

    async with _connect(server, coordinators + WRITERS) as connections:
        await connections[0].execute("CREATE TABLE IF NOT EXISTS told (id BIGINT)")
        for connection in connections[WRITERS:]:
            await connection.add_listener("news", hear)

        async def commit(connection: Connection) -> int:
            await connection.execute(f"WITH row AS (INSERT INTO told VALUES (1)) SELECT pg_notify('news', '{NEWS}')")
            return 1

        rate, microseconds = await _drive(server, connections[:WRITERS], commit, seconds)
    return [
        Figure(f"news to {coordinators}: commits", rate, "/s"),
        Figure(f"news to {coordinators}: PostgreSQL's CPU a commit", microseconds, "us"),
    ]


async def _take(server: Server, coordinators: int, seconds: float) -> list[Figure]:
    """Jobs that so many coordinators take from one full queue, eight at a time, and end."""
    entrypoints = {JOB: EntrypointExecutionParameter(0)}
    async with _connect(server, coordinators) as connections:
        queries = Queries(AsyncpgDriver(connections[0]))
        await queries.install()
        await queries.optimize_autovacuum()
        await queries.upgrade()
        await connections[0].execute("ALTER TABLE pgqueuer DISABLE TRIGGER USER")  # as coordinators do
        for _ in range(0, JOBS, 10_000):
            await queries.enqueue([JOB] * 10_000, [b"x" * 32] * 10_000, [0] * 10_000)
        await connections[0].execute("ANALYZE pgqueuer")

        async def take(connection: Connection) -> int:
            own = Queries(AsyncpgDriver(connection))
            jobs = await own.dequeue(BATCH, entrypoints, uuid4(), None, timedelta(seconds=5))  # type: ignore[arg-type]
            await own.log_jobs([(job, "successful", None) for job in jobs])
            return len(jobs)

        rate, microseconds = await _drive(server, connections, take, seconds)
        await queries.uninstall()
    return [
        Figure(f"a queue of {JOBS:,} for {coordinators}: jobs", rate, "/s"),
        Figure(f"a queue of {JOBS:,} for {coordinators}: PostgreSQL's CPU a job", microseconds, "us"),
    ]


async def _drive(
    server: Server, connections: list[Connection], act: Callable[[Connection], Awaitable[int]], seconds: float
) -> tuple[float, float]:
    """How many a second, and microseconds of PostgreSQL's processor time for each."""
    began, cpu, done = time.perf_counter(), read_family_cpu_seconds(server.pid), 0

    async def go_on(connection: Connection) -> None:
        nonlocal done
        while time.perf_counter() < began + seconds:
            done += await act(connection)

    await asyncio.gather(*map(go_on, connections))
    spent = read_family_cpu_seconds(server.pid) - cpu
    return done / (time.perf_counter() - began), spent / max(1, done) * 1e6


@asynccontextmanager
async def _connect(server: Server, number: int) -> AsyncIterator[list[Connection]]:
    """Connections as those of a coordinator's queue and news: they wait for no disk."""
    url, settings = f"postgresql://muster@127.0.0.1:{server.port}/postgres", {"synchronous_commit": "off"}
    connections = [await asyncpg.connect(url, server_settings=settings) for _ in range(number)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.terminate()


if __name__ == "__main__":
    sys.exit(main())
