"""Looks in a folder of documents (SEARCH_PROVIDER=local), indexed in this worker's own folder."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from shared.contracts import Missing
from shared.definition import Context
from shared.errors import WorkerFault
from workers.index import ranking, store
from workers.index.folder import FolderUnreadable, Index, Progress
from workers.index.store import Scope
from workers.providers.found import Found, counted, evidence
from workers.providers.provider import Ask
from workers.reading import files

CHECK_SECONDS = 2.0  # a changed file is seen by a question asked this much later
REPORT_SECONDS = 0.5
SPARE_SECONDS = 1.0  # kept for the search itself when the first indexing takes longer than the step has
MAX_NOTES = 10


@asynccontextmanager
async def opened(folder: Path, state_dir: Path, *, now: Callable[[], float] = time.monotonic) -> AsyncIterator[Local]:
    """The provider for a folder; indexing starts at once, beside everything else, and ends with the service."""
    local = Local(folder, Index(state_dir / "index.db", folder), now=now)
    local.refreshing()
    try:
        yield local
    finally:
        await local.close()


class Local:
    """Searches one folder. Steps that come while it is being indexed wait for it, and say how far it is."""

    name = "local"

    def __init__(self, folder: Path, index: Index, *, now: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.index = index
        self.progress = Progress()
        self._now = now
        self._began = 0.0
        self._task: asyncio.Task[None] | None = None

    def refreshing(self) -> asyncio.Task[None]:
        """The one run of the indexer that is under way, or began within the last two seconds."""
        if self._task is None or (self._task.done() and self._now() - self._began >= CHECK_SECONDS):
            self._began = self._now()
            self.progress = Progress()
            self._task = asyncio.create_task(
                asyncio.to_thread(self.index.refresh, self.progress), name=f"index:{self.folder}"
            )
            self._task.add_done_callback(_seen)
        return self._task

    async def close(self) -> None:
        self.index.stop.set()
        if self._task is not None:
            with suppress(OSError, sqlite3.Error, FolderUnreadable):
                await self._task

    async def search(self, ask: Ask, ctx: Context) -> Found:
        """Passages for the question. Raises WorkerFault if the folder or the index cannot be used."""
        late = await self._indexed(ctx)
        try:
            found = await asyncio.to_thread(self._found, ask)
        except sqlite3.OperationalError as exc:
            raise self._unreadable(exc, late=late) from exc
        except sqlite3.DatabaseError:
            found = await self._rebuilt(ask, ctx)
        if late:
            why = f"not indexed yet ({self._how_far()})"
            found.missing.append(Missing(what=f"part of the documents below {self.folder}", why=why))
        return found

    async def _rebuilt(self, ask: Ask, ctx: Context) -> Found:
        """Asks once more after building a broken index anew."""
        self.index.suspect = True
        self._task = None
        late = await self._indexed(ctx)
        try:
            return await asyncio.to_thread(self._found, ask)
        except sqlite3.Error as exc:
            raise self._unreadable(exc, late=late) from exc

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
        return f"indexed {self.progress.done} of {self.progress.total} documents"

    def _unreadable(self, failure: sqlite3.Error, *, late: bool) -> WorkerFault:
        if late:
            why = f"{self.folder} is still being indexed ({self._how_far()})."
            return WorkerFault(why, type="search_timeout", retryable=True)
        why = f"The index {self.index.path} cannot be read: {failure}."
        return WorkerFault(why, type="search_unavailable", retryable=True)

    def _fault(self, failure: BaseException) -> WorkerFault:
        if isinstance(failure, FolderUnreadable):
            return WorkerFault(f"KNOWLEDGE_DIR={self.folder} cannot be read: {failure}.", type="bad_setting")
        if isinstance(failure, OSError):
            reason = failure.strerror or str(failure)
            return WorkerFault(f"STATE_DIR={self.index.path.parent} cannot be used: {reason}.", type="bad_setting")
        why = f"The index {self.index.path} cannot be written: {failure}."
        return WorkerFault(why, type="search_unavailable", retryable=True)

    def _found(self, ask: Ask) -> Found:
        asked = ranking.question(ask.question)
        with self.index.reading() as connection:
            scope, missing = self._scope(connection, ask.documents)
            own = ranking.rank(connection, asked, scope)
            others = [
                (index, ranking.rank(connection, ranking.question(text), scope).hits)
                for index, text in enumerate(ask.siblings)
                if index != ask.index
            ]
            left = ranking.own(own.hits, others, ask.index)
            chosen = ranking.chosen(left, ask.limit)
            notes = [each.sentence for each in store.skipped(connection)]
            if len(notes) > MAX_NOTES:
                notes = [*notes[:MAX_NOTES], f"{len(notes) - MAX_NOTES} more documents could not be read."]
            if ranking.thin(own, asked):
                notes.append(f"The documents say little about this: no passage has much of {asked.text!r} in it.")
            if own.unknown:
                notes.append(f"No document has: {', '.join(own.unknown)}.")
            documents, passages = store.counts(connection, scope)
            searched = f"{counted(passages, 'passage')} in {counted(documents, 'document')} below {self.folder}"
            return Found(
                evidence(connection, chosen, asked, own.weights, self.name), searched, notes=notes, missing=missing
            )

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
                missing.append(Missing(what=pattern, why=f"no document below {self.folder} has this path"))
        return Scope(tuple(sorted(pages))), missing


def _seen(task: asyncio.Task[None]) -> None:
    """A failure of a run that no step waits for is told to the next step; asyncio need not complain about it."""
    if not task.cancelled():
        task.exception()
