"""A durable outbox: posts what is due, retries with doubling pauses, and gives up after eight attempts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from shared import logs
from shared.client.client import AddressRefused
from shared.errors import StorageUnwritable

MAX_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 1.0  # doubled each time: the eighth attempt comes about two minutes after the first
LONGEST_PAUSE_SECONDS = 1.2 * FIRST_PAUSE_SECONDS * 2.0 ** (MAX_ATTEMPTS - 2)
SEND_SECONDS = 10.0
AT_ONCE = 16
LOOKED_AT = 500  # due letters a look reads, so that some are for a receiver with a place
ROOM_SECONDS = 1.0  # before a full disk is tried again
LOOK_SECONDS = 60.0  # between two looks when nothing is due
SHARED_LOOK_SECONDS = 5.0  # where others put letters into the table, too
CLAIM_SECONDS = 15.0  # that a letter is one process's alone: an attempt, and the note of how it went


@dataclass(frozen=True)
class Letter:
    """A body for `url` (None: its hook was deleted); of one task and hook, one letter is sent at a time."""

    task_id: str
    url: str | None
    attempts: int
    hook_id: str = ""
    seq: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.task_id, self.hook_id


class LetterTable(Protocol):
    """Stores and posts letters. Each method raises `StorageUnwritable` when the disk is full."""

    async def find_due(self, now: float, limit: int) -> tuple[Sequence[Letter], float | None]:
        """The letters that `is_due` finds due, the oldest first, and when the next one will be (None: no other)."""

    async def claim(self, letter: Letter, *, now: float, until: float) -> bool:
        """Whether no other process sends the letter before `until` (Unix seconds)."""

    async def post(self, letter: Letter) -> tuple[str | None, bool]:
        """What went wrong (None: nothing), and whether a retry may help."""

    async def record(self, letter: Letter, *, attempts: int, error: str | None, next_at: float | None) -> None:
        """Records how an attempt went; without `next_at` it was the last."""


def is_due(next_at: float, attempts: int, *, now: float) -> bool:
    """Whether a letter is due: a new one is at once, and so is one whose time only another wall clock can have set."""
    return attempts == 0 or next_at <= now or next_at > now + LONGEST_PAUSE_SECONDS


class Outbox:
    """Posts the letters of a table: at most `AT_ONCE` together, and `at_one_receiver` to one host and port.

    Where several processes share the table, each letter is claimed, and one whose sender died is sent by another within
    `CLAIM_SECONDS` and `SHARED_LOOK_SECONDS`.
    Its times are Unix seconds that a start takes from `wall` and that go on with the monotonic `now`, so that a wall
    clock that jumps makes no pause longer or shorter.
    """

    def __init__(
        self,
        table: LetterTable,
        *,
        wall: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
        random: Random,
        at_one_receiver: int = AT_ONCE,
        shared: bool = False,
    ) -> None:
        self._table = table
        self._now = now
        self._offset = wall() - now()
        self._random = random
        self._at_one_receiver = at_one_receiver
        self._look_seconds = SHARED_LOOK_SECONDS if shared else LOOK_SECONDS
        self._news = asyncio.Event()
        self._under_way: dict[tuple[str, str], str] = {}  # key: receiver

    def look(self) -> None:
        """Looks for new letters now."""
        self._news.set()

    async def run(self) -> None:
        """Delivers forever; a receiver that hangs delays no other."""
        async with asyncio.TaskGroup() as deliveries:
            while True:
                self._news.clear()
                try:
                    await self._pause(await self._begin(deliveries))
                except StorageUnwritable as exc:
                    await _wait_after(exc)

    async def _begin(self, deliveries: asyncio.TaskGroup) -> float | None:
        """Starts what is due and has a place; returns when the next letter is due."""
        before = set(self._under_way)  # a delivery may end while the table is read
        letters, next_at = await self._table.find_due(self._read_clock(), LOOKED_AT)
        for letter in letters:
            receiver = urlsplit(letter.url or "").netloc
            if letter.key not in before and self._has_place(receiver):
                self._under_way[letter.key] = receiver
                deliveries.create_task(self._deliver(letter), name=f"outbox:{letter.task_id}")
        return next_at

    def _read_clock(self) -> float:
        return self._offset + self._now()

    def _has_place(self, receiver: str) -> bool:
        receivers = list(self._under_way.values())
        return len(receivers) < AT_ONCE and receivers.count(receiver) < self._at_one_receiver

    async def _pause(self, next_at: float | None) -> None:
        most = self._look_seconds
        seconds = most if next_at is None else min(most, max(0.01, next_at - self._read_clock()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _deliver(self, letter: Letter) -> None:
        try:
            now = self._read_clock()
            if not await self._table.claim(letter, now=now, until=now + CLAIM_SECONDS):
                return
            error, may_help = await self._table.post(letter)
            attempts = letter.attempts + 1
            pause = FIRST_PAUSE_SECONDS * 2.0**letter.attempts * (0.8 + 0.4 * self._random.random())
            again = error is not None and may_help and attempts < MAX_ATTEMPTS
            next_at = self._read_clock() + pause if again else None
            await self._table.record(letter, attempts=attempts, error=error, next_at=next_at)
        except StorageUnwritable as exc:
            await _wait_after(exc)
        finally:
            del self._under_way[letter.key]
            self._news.set()  # there is a place again


async def post(http: httpx.AsyncClient, url: str, body: str, headers: Mapping[str, str]) -> tuple[str | None, bool]:
    """Posts JSON; returns what went wrong (None: nothing), and whether a retry may help."""
    try:
        answer = await http.post(
            url,
            content=body,
            headers={"Content-Type": "application/json", **headers},
            extensions={"deadline": SEND_SECONDS, "max_bytes": 65_536},
        )
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        hopeless = isinstance(exc, AddressRefused | httpx.InvalidURL | httpx.UnsupportedProtocol)
        return f"{type(exc).__name__}: {exc}", not hopeless
    return (None, False) if answer.is_success else (f"HTTP {answer.status_code}", True)


async def _wait_after(exc: StorageUnwritable) -> None:
    logs.get().warning(exc.event)
    await asyncio.sleep(ROOM_SECONDS)
