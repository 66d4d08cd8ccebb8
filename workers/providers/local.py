"""Looks in a folder of documents (SEARCH_PROVIDER=local), indexed in this worker's own folder."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from shared.agent import Context
from shared.contracts import Missing
from shared.errors import Unavailable, WorkerFault
from shared.report.sources import IndexState, PlacedPassage, Skipped
from workers.index import ranking, store
from workers.index.folder import FolderUnreadable, Index, IndexProgress
from workers.index.store import Scope
from workers.providers.found import Found, evidence, format_count
from workers.providers.provider import SearchRequest
from workers.reading import files
from workers.reading.apart.reader import ReaderUnavailable
from workers.reading.documents.leftout import in_short

LOOK_SECONDS = 0.2  # a look for changes that takes longer is not waited for
READ_SECONDS = 3.0  # nor is the reading of what has changed
PAUSE = 4.0  # times what a look took, before the next: looking takes no more than a fifth of a processor
REPORT_SECONDS = 0.5
WATCH_SECONDS = 1.0  # between two looks at the time of the folder of uploads
SPARE_SECONDS = 1.0  # kept for the search itself when the first indexing takes longer than the step has


@dataclass(frozen=True)
class Standing:
    """How current the index is: `late` if parts were never read, `note` if it is older than the question."""

    late: bool = False
    note: str = ""


T = TypeVar("T")


@asynccontextmanager
async def open_local(
    folder: Path, state_dir: Path, *, uploads: Path | None = None, now: Callable[[], float] = time.monotonic
) -> AsyncIterator[Local]:
    """The provider for a folder; indexing starts at once, beside everything else, and ends with the service.

    Uploads are read as they come, so that a long one is there when somebody asks about it.
    """
    local = Local(folder, Index(state_dir / "index.db", folder, uploads), now=now)
    stamp = await asyncio.to_thread(_stamp, uploads)
    local.refreshing()
    watching = asyncio.create_task(local.watch(uploads, stamp), name=f"watch:{uploads}") if uploads else None
    try:
        yield local
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
        await local.close()


class Local:
    """Searches one folder. Steps that come while it is indexed first wait for that, and say how far it is.

    A question waits for a look at the folder that begins after it, so that it finds a file saved just before; where
    that takes too long, the index answers as it is, and says as of when.
    """

    name = "local"

    def __init__(self, folder: Path, index: Index, *, now: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.index = index
        self.progress = IndexProgress()
        self._now = now
        self._ended = float("-inf")
        self._true_at: datetime | None = None  # when the last look began after which nothing was left to do
        self._task: asyncio.Task[None] | None = None

    def refreshing(self) -> asyncio.Task[None]:
        """The run of the indexer that is under way, else a new one, else the last if it has only just ended."""
        if self._task is None or (self._task.done() and self._pause() <= 0):
            self.progress = IndexProgress()
            self._task = asyncio.create_task(self._refreshed(self.progress), name=f"index:{self.folder}")
            self._task.add_done_callback(_mark_seen)
        return self._task

    def _pause(self) -> float:
        """Seconds until there may be another look."""
        return self._ended + PAUSE * (self.progress.look_seconds or 0.0) - self._now()

    async def _refreshed(self, progress: IndexProgress) -> None:
        began = datetime.now().astimezone()
        try:
            await asyncio.to_thread(self.index.refresh, progress)
            if not progress.by_another:
                self._true_at = began
        finally:
            self._ended = self._now()

    async def watch(self, uploads: Path, seen: object) -> None:
        """Reads what has changed among uploads a moment after it has; `seen` is their folder's time at first."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            stamp = await asyncio.to_thread(_stamp, uploads)
            may_look = self._task is None or (self._task.done() and self._pause() <= 0)
            if stamp != seen and may_look:
                seen = stamp
                self.refreshing()

    async def close(self) -> None:
        self.index.stop.set()
        if self._task is not None:
            with suppress(OSError, sqlite3.Error, FolderUnreadable, ReaderUnavailable):
                await self._task

    async def search(self, ask: SearchRequest, ctx: Context) -> Found:
        """Passages for the question. Raises WorkerFault if the folder or the index cannot be used."""
        standing = await self._standing(ctx)
        try:
            found = await asyncio.to_thread(self._found, ask)
        except sqlite3.OperationalError as exc:
            raise self._unreadable(exc, late=standing.late) from exc
        except sqlite3.DatabaseError:
            found = await self._rebuilt(ask, ctx)
        if standing.note:
            found.notes.append(standing.note)
        if standing.late:
            why = f"not indexed yet ({self._how_far()})"
            found.missing.append(Missing(what=f"part of the documents below {self.folder}", why=why))
        return found

    async def state(self) -> IndexState:
        return await self._kept(self._state)

    async def place(self, id: str) -> PlacedPassage | None:
        return await self._kept(lambda connection: store.place(connection, id))

    async def _kept(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What is read from the index as it is now. Raises Unavailable where there is none to read."""

        def reading() -> T:
            with self.index.reading() as connection:
                return read(connection)

        try:
            return await asyncio.to_thread(reading)
        except sqlite3.Error as exc:
            raise Unavailable(f"{self.folder} is still being indexed.", retry_after=1) from exc

    def _state(self, connection: sqlite3.Connection) -> IndexState:
        files, passages = store.counts(connection, Scope())
        return IndexState(
            provider=self.name,
            folder=str(self.folder),
            uploads=str(self.index.uploads or ""),
            files=files,
            passages=passages,
            languages=store.languages(connection),
            skipped=[Skipped(**asdict(each)) for each in store.list_skipped(connection)],
            changed=store.fact(connection, "changed"),
            complete=store.fact(connection, "complete") != "",
        )

    async def _rebuilt(self, ask: SearchRequest, ctx: Context) -> Found:
        """Asks once more after rebuilding a broken index."""
        self.index.suspect = True
        self._task = None
        late = await self._indexed(ctx)
        try:
            return await asyncio.to_thread(self._found, ask)
        except sqlite3.Error as exc:
            raise self._unreadable(exc, late=late) from exc

    async def _standing(self, ctx: Context) -> Standing:
        if not await asyncio.to_thread(self.index.complete):
            return Standing(late=await self._indexed(ctx))
        until = self._now() + LOOK_SECONDS
        if self._task is not None and not self._task.done():  # it may have passed by what has changed since
            await asyncio.wait([self._task], timeout=LOOK_SECONDS)
        if 0 < (pause := self._pause()) < until - self._now():
            await asyncio.sleep(pause)
        task = self.refreshing()
        await asyncio.wait([task], timeout=max(0.0, until - self._now()))
        if not task.done() and self.progress.look_seconds is not None:  # it has looked, and reads what has changed
            await asyncio.wait([task], timeout=max(0.0, min(READ_SECONDS, ctx.seconds_left() - SPARE_SECONDS)))
        if not task.done():
            return Standing(note=self._as_of(self._why_late()))
        failure = task.exception()
        if isinstance(failure, FolderUnreadable):
            return Standing(note=self._as_of(f"KNOWLEDGE_DIR={self.folder} cannot be read ({failure})"))
        if failure is not None:
            raise self._fault(failure) from failure
        return Standing(
            note=self._as_of("another worker is indexing the documents") if self.progress.by_another else ""
        )

    def _why_late(self) -> str:
        if self.progress.look_seconds is None:
            return f"checking for changes takes longer than {LOOK_SECONDS} s"
        return f"{format_count(self.progress.total - self.progress.done, 'changed document')} still to be read"

    def _as_of(self, why: str) -> str:
        when = f"of {self._true_at:%H:%M}" if self._true_at else "the folder was before this process started"
        return f"As {when}; {why}."

    async def _indexed(self, ctx: Context) -> bool:
        """Waits until the index is up to date; True if the step's time does not allow that."""
        task = self.refreshing()
        while not task.done():
            left = ctx.seconds_left() - SPARE_SECONDS
            if left <= 0:
                return True
            await asyncio.wait([task], timeout=min(REPORT_SECONDS, left))
            if not task.done() and self.progress.total:
                await ctx.progress(self._how_far(), self.progress.done / self.progress.total)
            elif not task.done() and self.progress.by_another:
                await ctx.progress("waiting for another worker that is indexing the documents")
        if (failure := task.exception()) is not None:
            raise self._fault(failure) from failure
        return False

    def _how_far(self) -> str:
        anew = ", rebuilding the index after an update or damage" if self.progress.anew else ""
        return f"indexed {self.progress.done} of {self.progress.total} documents{anew}"

    def _unreadable(self, failure: sqlite3.Error, *, late: bool) -> WorkerFault:
        if late:
            why = f"{self.folder} is still being indexed ({self._how_far()})."
            return WorkerFault(why, type="search_timeout", retryable=True)
        why = f"The index {self.index.path} cannot be read: {failure}."
        return WorkerFault(why, type="search_unavailable", retryable=True)

    def _fault(self, failure: BaseException) -> WorkerFault:
        if isinstance(failure, FolderUnreadable):
            return WorkerFault(f"KNOWLEDGE_DIR={self.folder} cannot be read: {failure}.", type="bad_setting")
        if isinstance(failure, ReaderUnavailable):
            return WorkerFault(f"The documents cannot be read: {failure}.", type="search_unavailable", retryable=True)
        if isinstance(failure, OSError):
            reason = failure.strerror or str(failure)
            return WorkerFault(f"STATE_DIR={self.index.path.parent} cannot be used: {reason}.", type="bad_setting")
        why = f"The index {self.index.path} cannot be written: {failure}."
        return WorkerFault(why, type="search_unavailable", retryable=True)

    def _found(self, ask: SearchRequest) -> Found:
        with self.index.reading() as connection:
            scope, missing = self._scope(connection, ask.documents)
            own = ranking.rank(connection, ask.question, scope)
            others = [
                (index, ranking.rank(connection, text, scope).hits)
                for index, text in enumerate(ask.siblings)
                if index != ask.index
            ]
            left = ranking.own(own.hits, others, ask.index)
            chosen = ranking.select(left, ask.passages)
            documents, passages = store.counts(connection, scope)
            return Found(
                evidence=evidence(chosen, own.asked, self.name),
                searched=(
                    f"{format_count(passages, 'passage')} in {format_count(documents, 'document')} {self._where()}"
                ),
                words=list(own.asked.weights),
                notes=in_short(store.list_skipped(connection)),
                missing=missing,
            )

    def _where(self) -> str:
        return f"below {self.folder}" + (" and of uploads" if self.index.uploads else "")

    def _scope(self, connection: sqlite3.Connection, wanted: tuple[str, ...]) -> tuple[Scope, list[Missing]]:
        if not wanted:
            return Scope(), []
        there = store.paths(connection)
        pages: set[int] = set()
        missing: list[Missing] = []
        for pattern in wanted:
            matches = [there[path] for path in files.matching(list(there), pattern)]
            pages.update(matches)
            if not matches:
                missing.append(Missing(what=pattern, why=f"there is no document at this path {self._where()}"))
        return Scope(tuple(sorted(pages))), missing


def _stamp(folder: Path | None) -> int | None:
    """The time at which something came into the folder, or went."""
    try:
        return os.stat(folder).st_mtime_ns if folder else None
    except OSError:
        return None


def _mark_seen(task: asyncio.Task[None]) -> None:
    """A failure of a run that no step waits for is told to the next step; asyncio need not complain about it."""
    if not task.cancelled():
        task.exception()
