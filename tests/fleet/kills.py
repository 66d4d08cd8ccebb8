"""Coordinators killed again and again under load, and what became of the tasks that were in flight."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import asyncpg

from coordinator.journal.store import WRITES
from shared.limits.envelope import derive_key
from tests.fleet.callers import Callers
from tests.fleet.suite import Fleet
from tests.simulation.invariants import Committed, Evidence, find_broken
from tests.simulation.witness import Sent, Witness
from tests.support.fakes import eventually
from tests.support.history import History
from tests.support.processes import Coordinator, output_of

HAND_OVER_SECONDS = 8.0
LOOK_SECONDS = 0.1
TELL_SECONDS = 10.0
POINT_SECONDS = 15.0  # a point that is not reached within so many is given up, and the process killed
AGAIN_SECONDS = 0.1  # between the end of a step and its being durable
OWN_WRITES = ("store.take", "store.count_takes", "store.wish_cancelled")  # those of several coordinators
LEAVING = tuple(f"store.hand_back.{moment}" for moment in ("queued", "committed"))  # on SIGTERM
POINTS = (
    *(f"{write}.{moment}" for write in (*WRITES, *OWN_WRITES) for moment in ("queued", "committed")),
    *("send.execute.before", "send.execute.sent", "send.execute.answered"),
    *("commit.followed", "job.ended"),
    *LEAVING,
)
_CARRIED = "SELECT id FROM tasks WHERE carrier = $1 AND finished_at IS NULL"
_STILL = "SELECT id FROM tasks WHERE carrier = $1 AND finished_at IS NULL AND id = ANY($2)"
_EVENTS = "SELECT id, task_id, type, at, data FROM events WHERE task_id = ANY($1)"
_WHO = "SELECT id FROM coordinators WHERE address LIKE '%:' || $1 AND id <> ALL($2)"


@dataclass
class Kill:
    """`moves` are the seconds until each task that was in flight was taken up by another, or had ended."""

    at: float
    point: str  # empty: by chance
    in_flight: int
    port: int  # of the one that was killed
    back: float = 0.0  # when it was ready again
    moves: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Wish:
    """How much is to be done, and in about how many seconds."""

    tasks: int
    kills: int
    seconds: float
    at_once: int = 40
    seed: int = 1
    points: Sequence[str] = POINTS  # each is met once, if there are kills enough
    share: float = 0.5  # of the kills that are at a point, as long as there is one left
    patience: float = HAND_OVER_SECONDS  # after a kill: deadlines that fall into it may be missed by as much


class Run:
    """One run; `problems` are what must not be, in words."""

    def __init__(self, fleet: Fleet, wish: Wish) -> None:
        self._fleet = fleet
        self._wish = wish
        self._random = Random(wish.seed)
        self._points = self._random.sample(list(wish.points), len(wish.points))
        self._committed: dict[int, Committed] = {}
        self._refusals: list[tuple[float, str]] = []
        self._over = False
        self.kills: list[Kill] = []
        self.problems: list[str] = []
        self.again: list[str] = []
        self.callers: Callers
        self.end: History
        self.seconds = 0.0

    async def run(self) -> None:
        began = time.monotonic()
        async with self._fleet.open(), self._connect() as database:
            self.callers = Callers(
                self._fleet.urls,
                Random(self._wish.seed + 1),
                at_once=self._wish.at_once,
                enough=lambda: len(self.callers.calls) >= self._wish.tasks and self._killed_enough,
                delegates=await _make_key(database, self._fleet),
            )
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(self._tell())
                for coordinator in self._fleet.coordinators:
                    group.create_task(self._live(coordinator, database, group))
                await self.callers.run()
                self._over = True
                telling.cancel()
            self.end = await eventually(self._find_end, seconds=60)
        self.seconds = time.monotonic() - began

    async def _tell(self) -> None:
        """How far it has come, from time to time."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            calls = self.callers.calls
            known = sum(bool(call.statuses) for call in calls)
            kills = " ".join(f"{kill.in_flight}{'p' if kill.point else ''}" for kill in self.kills[-20:])
            print(f"{len(calls)} tasks, {known} have ended; kills: {kills}", file=sys.stderr, flush=True)

    @property
    def _killed_enough(self) -> bool:
        return sum(kill.in_flight > 0 for kill in self.kills) >= self._wish.kills

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
        async with asyncpg.create_pool(self._fleet.database, min_size=1, max_size=4) as pool:
            yield pool

    async def _find_end(self) -> History | None:
        found = await asyncio.to_thread(History, self._fleet.database)
        return found if not found.open_tasks else None

    # --- kills

    async def _live(
        self, coordinator: Coordinator, database: asyncpg.Pool[asyncpg.Record], group: asyncio.TaskGroup
    ) -> None:
        """Lets a coordinator live for a while, kills it, and starts it again, until there were kills enough."""
        pause = self._wish.seconds * len(self._fleet.coordinators) / self._wish.kills
        point, before = "", list[str]()
        while not self._over and not self._killed_enough:
            who = await self._find_new(database, coordinator, before)
            before += [who] if who is not None else []
            await asyncio.sleep(self._random.uniform(0.2, 1.2) * pause)
            if not point or point in LEAVING:
                await self._wait_for_work(database, who or "")
                coordinator.process.tell(signal.SIGTERM if point else signal.SIGKILL)
            if await asyncio.to_thread(coordinator.process.wait, POINT_SECONDS) is None:
                coordinator.kill()
                point = ""
            kill = await self._note(database, who, point, coordinator.port, group) if who is not None else None
            await asyncio.sleep(self._random.choice((0.0, 0.0, 0.5, 3.0)))
            point = self._points.pop() if self._points and self._random.random() < self._wish.share else ""
            failpoint = f"{point}={1 if point in LEAVING else self._random.randint(1, 30)}" if point else ""
            await asyncio.to_thread(self._start, coordinator, failpoint)
            if kill is not None:
                kill.back = time.time()
        if point or not coordinator.process.alive:  # the last one lives to the end
            await asyncio.to_thread(coordinator.kill)
            await asyncio.to_thread(self._start, coordinator, "")

    async def _find_new(
        self, database: asyncpg.Pool[asyncpg.Record], coordinator: Coordinator, before: Sequence[str]
    ) -> str | None:
        """The id of a coordinator in its new life; None where it ended before it said it."""
        while coordinator.process.alive:
            if who := await database.fetchval(_WHO, str(coordinator.port), before):
                return str(who)
            await asyncio.sleep(LOOK_SECONDS)
        return None

    def _start(self, coordinator: Coordinator, failpoint: str) -> None:
        try:
            coordinator.start(failpoint=failpoint).ready()
        except AssertionError as exc:
            if not failpoint or coordinator.process.code != -signal.SIGKILL:  # not at its point
                self._refusals.append((time.time(), str(exc)))

    async def _wait_for_work(self, database: asyncpg.Pool[asyncpg.Record], who: str) -> None:
        for _ in range(100):
            if len(await database.fetch(_CARRIED, who)) > 2:
                return
            await asyncio.sleep(0.05)

    async def _note(
        self, database: asyncpg.Pool[asyncpg.Record], who: str, point: str, port: int, group: asyncio.TaskGroup
    ) -> Kill:
        at = time.time()
        ids = [row["id"] for row in await database.fetch(_CARRIED, who)]
        for id, task, type, when, data in await database.fetch(_EVENTS, ids):
            self._committed[id] = Committed(when, 0, id, task, type, json.loads(data))
        kill = Kill(at, point, len(ids), port)
        self.kills.append(kill)
        group.create_task(self._watch(database, who, ids, kill))
        return kill

    async def _watch(self, database: asyncpg.Pool[asyncpg.Record], who: str, ids: Iterable[str], kill: Kill) -> None:
        """Notes when each of the tasks has moved."""
        left = set(ids)
        while left:
            await asyncio.sleep(LOOK_SECONDS)
            still = {row["id"] for row in await database.fetch(_STILL, who, list(left))}
            kill.moves += [time.time() - kill.at] * len(left - still)
            left &= still

    # --- what became of it

    async def judge(self) -> None:
        """Holds what was seen against the invariants, once the run is over."""
        await asyncio.to_thread(self._judge)

    def _judge(self) -> None:
        ahead = time.time() - time.monotonic()  # of the agents' clock
        sent = [Sent(ahead + at, task, step, attempt, "") for at, task, step, attempt in self._fleet.agents.attempts()]
        for event in self.end.events:
            self._committed[event.id] = Committed(event.at, 0, event.id, event.task_id, event.type, event.data)
        witness = Witness(time.time, sent=sent)
        evidence = Evidence(
            calls=self.callers.calls,
            committed=sorted(self._committed.values(), key=lambda event: event.id),
            journal=self._fleet.database,
            outages=[(kill.at, max(kill.at, kill.back) + self._wish.patience) for kill in self.kills],
            disk_trouble=(),
            jumped=(),
            secrets=(),
            told=(),
            witness=witness,
            refusals=self._refusals,
        )
        self.problems += find_broken(evidence)
        self.problems += [
            f"I4: a caller who gave {a.timeout_seconds} s was answered after {a.seconds:.2f} s"
            for a in self.callers.waited
            if a.seconds > a.timeout_seconds + self._wish.patience
        ]
        for id, seen in self.callers.seen.items():
            if seen != [event.id for event in self.end.events_of[id]]:
                self.problems.append(
                    f"events: a reader of {id} saw {seen}, not {[e.id for e in self.end.events_of[id]]}"
                )
        for (task, step), row in self.end.steps.items():
            if row["status"] == "completed" and json.loads(row["output"]) != output_of(task, step):
                self.problems.append(f"I3: step {step} of {task} has an output that is not its own: {row['output']}")
        self.again = [
            f"step {s.step} of {s.task} ran again {s.at - done['finished_at']:.3f} s after its end, attempt {s.attempt}"
            for s in sent
            if (done := self.end.steps.get((s.task, s.step))) is not None
            and done["status"] == "completed"
            and s.at > done["finished_at"] + AGAIN_SECONDS
        ]

    @property
    def coordinators(self) -> int:
        return len(self._fleet.coordinators)

    @property
    def lost(self) -> list[str]:
        """Tasks that a caller was told of and that are not there, or have not ended."""
        return [id for id in self.callers.accepted if id not in self.end.tasks or id in self.end.open_tasks]

    @property
    def doubled(self) -> list[str]:
        """Tasks that ended twice, and keys that made two."""
        twice = [id for id, events in self.end.events_of.items() if sum(e.type == "task.finished" for e in events) > 1]
        return twice + [call.key or "" for call in self.callers.calls if call.key is not None and len(call.ids) > 1]


async def _make_key(database: asyncpg.Pool[asyncpg.Record], fleet: Fleet) -> Mapping[str, str]:
    """What `plain` signs with, as its worker's chassis would."""
    instance = await database.fetchval("SELECT id FROM agents WHERE registration::json->>'name' = 'plain'")
    secret = await database.fetchval("SELECT value FROM meta WHERE key = 'secret'")
    return {"instance": instance, "key": derive_key(bytes.fromhex(secret), instance).hex()}


def make_fleet(folder: Path, database: str, number: int) -> Fleet:
    return Fleet(folder, database, number, balanced=True, max_queued_tasks=1_000)
