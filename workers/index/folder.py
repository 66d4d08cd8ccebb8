"""The index of a folder and of uploads in one SQLite file, kept up to date by whichever process gets its lock."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from workers.index import store
from workers.reading import files, folders
from workers.reading.apart.reader import ReaderProcess

BATCH = 25  # documents a transaction; other processes can read between
LOCK_POLL_SECONDS = 0.01
LOCK_SECONDS = 0.2  # an index that is whole is not waited for longer than this while another process writes
AGAIN = -1  # the time of a file that could not be read, and is to be read at the next look: no file has it
BUSY_SECONDS = 10.0


@dataclass
class IndexProgress:
    """How far the indexing is, written by the indexing thread and read by steps that wait."""

    done: int = 0
    total: int = 0
    by_another: bool = False  # another process holds the lock
    anew: bool = False  # the file was broken or of another version, and everything is read again
    look_seconds: float | None = None  # what it took to list the folder, once that is done


class FolderUnreadable(Exception):
    """The folder of documents cannot be listed; the message says why."""


class Index:
    """The file `path`, made from the documents below `folder` and `uploads`; every method blocks: call it in a thread.

    One process writes at a time, and only while it holds `<path>.lock` (flock, also between containers on one
    volume). Readers open the file read-only for each query and see the last committed batch. Readers never write
    or checkpoint: before 3.51.3 SQLite can corrupt a WAL file when two connections do.
    """

    def __init__(self, path: Path, folder: Path, uploads: Path | None = None) -> None:
        self.path = path
        self.folder = folder
        self.uploads = uploads
        self.stop = threading.Event()
        self.suspect = False  # set by who finds it broken while reading: the next refresh rebuilds it

    def refresh(self, progress: IndexProgress) -> None:
        """Brings the index up to date. Where another process is doing so, waits for it only if nothing is complete.

        Raises FolderUnreadable, and OSError or sqlite3.Error where the index cannot be written. Ends early after
        `stop.set()`.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(progress) as held:
            if held:
                self._update(progress)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection. Raises sqlite3.Error if there is no usable index (yet)."""
        uri = f"{self.path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
            connection.execute("BEGIN")  # one snapshot for all statements of a query
            if connection.execute("PRAGMA user_version").fetchone()[0] != store.VERSION:
                raise sqlite3.DatabaseError("the index is from another version")
            yield connection

    def complete(self) -> bool:
        """Whether the file is a usable index of this folder that was whole at least once."""
        try:
            with self.reading() as connection:
                return store.fact(connection, "complete") == str(self.folder.resolve())
        except sqlite3.Error:
            return False

    @contextmanager
    def _lock(self, progress: IndexProgress) -> Iterator[bool]:
        with open(f"{self.path}.lock", "a") as lock:
            until = time.monotonic() + LOCK_SECONDS
            while not self._locked(lock.fileno()):
                progress.by_another = True
                if self.stop.wait(LOCK_POLL_SECONDS) or (time.monotonic() > until and self.complete()):
                    yield False
                    return
            progress.by_another = False
            yield True

    @staticmethod
    def _locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _update(self, progress: IndexProgress) -> None:
        """Adds, replaces and removes what changed; the lock is held."""
        began = time.monotonic()
        try:
            seen = folders.look(self.folder, self.uploads)
        except OSError as exc:
            raise FolderUnreadable(exc.strerror or str(exc)) from exc
        progress.look_seconds = time.monotonic() - began
        if self.suspect:
            progress.anew = True
            self._remove()
            self.suspect = False
        try:
            self._written(seen, progress)
        except sqlite3.DatabaseError as exc:
            if isinstance(exc, sqlite3.OperationalError) and not str(exc).startswith("no such"):
                raise  # locked, full, not writable: nothing that rebuilding would fix
            progress.anew = True
            self._remove()  # broken, or not ours; it holds nothing that the folder does not
            self._written(seen, progress)

    def _written(self, seen: files.Look, progress: IndexProgress) -> None:
        """What is below a folder that cannot be listed is kept as it was: a share that is away is not empty."""
        there = seen.files
        root = str(self.folder.resolve())
        with self._writing() as connection:
            if store.fact(connection, "folder") != root:
                for path in list(store.paths(connection)):
                    store.remove(connection, path)
                store.set_facts(connection, [("folder", root), ("complete", "")])
            known = {path: (size, mtime) for path, size, mtime in connection.execute(store.KNOWN)}
            gone = known.keys() - {file.path for file in there}
            gone = {path for path in gone if not path.startswith(seen.unlisted)}
            changed = [file for file in there if known.get(file.path) != (file.size, file.mtime_ns)]
            progress.total, progress.done = len(there), len(there) - len(changed)
            differs = store.set_skipped(connection, seen.left_out)
            if not gone and not changed and not differs and store.fact(connection, "complete") == root:
                return
            for path in gone:
                store.remove(connection, path)
            if not self._read(connection, changed, progress):
                return
            store.set_facts(connection, [("complete", root), ("changed", datetime.now(UTC).isoformat("T", "seconds"))])
            connection.execute("COMMIT")

    def _read(self, connection: sqlite3.Connection, changed: list[files.File], progress: IndexProgress) -> bool:
        """Reads and stores the documents, in transactions of a few; whether all are there, and it was not stopped."""
        stored = 0
        with ReaderProcess(self.stop) as reader:
            for file, opened in reader.read(changed):
                mtime = AGAIN if opened.again else file.mtime_ns
                store.put_document(connection, file.path, opened.document, size=file.size, mtime_ns=mtime)
                stored += 1
                progress.done += 1
                if stored % BATCH == 0:
                    connection.execute("COMMIT")
                    connection.execute("BEGIN IMMEDIATE")
        return stored == len(changed)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # lost power costs an index that is made again
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                store.create(connection)
            elif version != store.VERSION:
                raise sqlite3.DatabaseError(f"version {version}, not {store.VERSION}")
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")
