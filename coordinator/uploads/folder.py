"""The folder of uploaded documents: what may come in, what is there and who sent it, and what goes again."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

from coordinator.uploads.names import check_name
from coordinator.uploads.part import Part, remove_left
from shared import logs
from shared.documents.place import place_of
from shared.documents.settings import UploadSettings
from shared.errors import Conflict, Invalid, MusterError, NotFound, Overloaded, TooLarge, Unavailable

SENDER = ".by-"  # the file beside a document that holds its sender's name
PORTION = 262_144  # bytes that are written at once
MOST_AT_ONCE = 64  # uploads: each holds a portion
WRITERS = 2  # threads: a slow disk keeps nothing else waiting
KEPT_FREE = 200_000_000  # bytes of the disk, or a quarter of a small one: the journal may be on it, too
PATHS = ("/documents", "/console/documents")
FORM_BYTES = 100_000  # of a form around a document
OFF = "Uploads are off. Set UPLOADS_DIR to a folder that the researchers read as well."
T = TypeVar("T")


class NoRoom(MusterError):
    """The folder is as full as it may be, or its disk is."""

    status, type, title = 507, "uploads_full", "No room for documents"


class Outcome(StrEnum):
    """What became of a document that was sent."""

    STORED = "stored"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Uploaded:
    """A document that was sent; `sent_at` in Unix seconds, `sent_by` the name of the key, None where none was sent."""

    name: str
    bytes: int
    sent_at: float
    sent_by: str | None = None


@dataclass(eq=False)
class Coming:
    """A document on its way: `bytes` as announced, or as many as have come."""

    bytes: int


@dataclass(frozen=True)
class Holdings:
    """What is in the folder, by name; `trouble` says why nothing can be put into it now, `place` where it is."""

    documents: tuple[Uploaded, ...] = ()
    free_bytes: int = 0
    place: str = ""
    trouble: str | None = None

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.documents)


class Uploads:
    """Documents in one folder, which other coordinators may write, too. Without UPLOADS_DIR it is off.

    The folder must not hold any of `apart_from`: what is in it can be removed by whoever may upload.
    """

    def __init__(self, settings: UploadSettings | None, *, apart_from: Iterable[Path] = ()) -> None:
        self._settings = settings
        self._apart_from = tuple(apart_from)
        self._threads = ThreadPoolExecutor(WRITERS, thread_name_prefix="uploads")
        self._placing = asyncio.Lock()
        self._coming: set[Coming] = set()
        self._seen: tuple[int, tuple[Uploaded, ...]] | None = None  # the folder's time, and what was in it then

    @property
    def on(self) -> bool:
        return self._settings is not None and self._settings.uploads_dir is not None

    @property
    def settings(self) -> UploadSettings:
        """Raises `NotFound` where uploads are off."""
        if self._settings is None or self._settings.uploads_dir is None:
            raise NotFound(OFF)
        return self._settings

    @property
    def folder(self) -> Path:
        """Raises `NotFound` where uploads are off."""
        return self.settings.uploads_dir or Path()

    @property
    def bodies(self) -> dict[str, int]:
        """How large a request's body may be, by how its path begins."""
        return dict.fromkeys(PATHS, self.settings.upload_bytes + FORM_BYTES) if self.on else {}

    async def open(self) -> None:
        """Makes the folder, and removes what an earlier process left half done. A folder that is no use is told.

        Raises `MusterError` for a folder that holds what is not for uploads.
        """
        if not self.on:
            return
        here = self.folder.resolve()
        for other in (path.resolve() for path in self._apart_from):
            if other.is_relative_to(here):
                raise MusterError(f"UPLOADS_DIR={self.folder} holds {other}. Choose a folder of its own.")
        try:
            if left := await self._do(self._tidy):
                logs.get().info("uploads.tidied", files=left)
        except OSError as exc:
            logs.get().error("uploads.unusable", folder=str(self.folder), why=exc.strerror or str(exc))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def look(self) -> Holdings:
        """What is there now. Raises `NotFound` where uploads are off."""
        folder = self.folder
        try:
            return await self._do(lambda: self._look(folder))
        except OSError as exc:
            return Holdings(trouble=_explain(folder, exc))

    async def store(
        self, name: str, chunks: AsyncIterator[bytes], *, length: int | None, sent_by: str | None, replace: bool
    ) -> tuple[Uploaded, Outcome]:
        """Takes a document in; `length` is what was announced. The same content again changes nothing.

        Raises `NotFound` where uploads are off, `Invalid` for a name that is not taken, `TooLarge`, `NoRoom`,
        `Conflict` where the name holds something else and is not to be replaced, `Overloaded`, and `Unavailable`.
        """
        folder, name = self.folder, check_name(name)
        self._check_size(length or 0)
        if len(self._coming) >= MOST_AT_ONCE:
            raise Overloaded("Too many documents are being uploaded.", retry_after=2)
        coming = Coming(length or 0)
        self._coming.add(coming)
        try:
            await self._check_room()
            part = await self._do(lambda: Part(folder))
            try:
                await self._receive(coming, part, chunks)
                async with self._placing:
                    return await self._do(lambda: self._place(part, name, sent_by, coming.bytes, replace=replace))
            finally:
                await self._do(part.discard)
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoRoom(f"The disk of {folder} is full.") from exc
            raise Unavailable(_explain(folder, exc), retry_after=60) from exc
        finally:
            self._coming.discard(coming)

    async def remove(self, name: str) -> str:
        """Removes a document and returns its name. Raises `NotFound`, `Invalid` and `Unavailable`."""
        folder, name = self.folder, check_name(name)
        try:
            async with self._placing:
                found = await self._do(lambda: self._remove(folder, name))
        except OSError as exc:
            raise Unavailable(_explain(folder, exc), retry_after=60) from exc
        if not found:
            raise NotFound(f"There is no document {name!r}.")
        return name

    # --- bounds

    def _check_size(self, size: int) -> None:
        if size > (most := self.settings.upload_bytes):
            # what still comes of it is not read: the connection closes
            raise TooLarge(f"The document is larger than the limit of {most:,} bytes.", headers={"Connection": "close"})

    async def _check_room(self) -> None:
        """Raises `NoRoom`, and OSError, where what is there and what is on its way are too much."""
        folder, limits, coming = self.folder, self.settings, sum(one.bytes for one in self._coming)
        held = await self._do(lambda: self._look(folder))
        if held.bytes + coming > limits.uploads_bytes:
            raise _full(limits.uploads_bytes)
        if held.free_bytes < coming:
            raise NoRoom(f"The disk of {folder} is too full: {KEPT_FREE // 1_000_000} MB of it are kept free.")

    async def _receive(self, coming: Coming, part: Part, chunks: AsyncIterator[bytes]) -> None:
        """Writes what comes, in portions, until it is on the disk."""
        size, waiting = 0, bytearray()
        async for chunk in chunks:
            size += len(chunk)
            self._check_size(size)
            waiting += chunk
            if len(waiting) >= PORTION:
                if size > coming.bytes:  # its length was not announced
                    coming.bytes = size
                    await self._check_room()
                await self._do(partial(part.write, bytes(waiting)))
                waiting.clear()
        if not size:
            raise Invalid("/file: The document is empty.", [{"pointer": "/file", "detail": "The document is empty."}])
        coming.bytes = size
        await self._do(partial(part.finish, bytes(waiting)))

    # --- in a thread

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _tidy(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        left = remove_left(self.folder)
        for path in list(self.folder.iterdir()):
            if path.name.startswith(SENDER) and not os.path.lexists(self.folder / path.name.removeprefix(SENDER)):
                path.unlink()
        return left

    def _look(self, folder: Path) -> Holdings:
        status, disk = os.stat(folder), os.statvfs(folder)
        if self._seen is None or self._seen[0] != status.st_mtime_ns:
            self._seen = (status.st_mtime_ns, tuple(_list(folder)))
        kept = min(KEPT_FREE, disk.f_blocks * disk.f_frsize // 4)
        writable = os.access(folder, os.W_OK | os.X_OK)
        return Holdings(
            documents=self._seen[1],
            free_bytes=max(0, disk.f_bavail * disk.f_frsize - kept),
            place=place_of(folder),
            trouble=None if writable else _explain(folder, OSError(errno.EACCES, os.strerror(errno.EACCES))),
        )

    def _place(
        self, part: Part, name: str, sent_by: str | None, size: int, *, replace: bool
    ) -> tuple[Uploaded, Outcome]:
        folder, limits = self.folder, self.settings
        where = folder / name
        before, there = _status(where), _list(folder)
        if before is not None:
            if not S_ISREG(before.st_mode):
                raise Conflict(f"{name!r} is in the folder, and is not a document. Choose another name.")
            if part.is_same_as(where):
                return _describe(folder, name, before), Outcome.UNCHANGED
            if not replace:
                raise Conflict(f"There is another document {name!r}: replace it (?replace=true), or rename yours.")
        elif len(there) >= limits.uploads_files:
            raise NoRoom(f"There are {len(there):,} documents, and {limits.uploads_files:,} are allowed. Remove some.")
        if sum(one.bytes for one in there) - (before.st_size if before else 0) + size > limits.uploads_bytes:
            raise _full(limits.uploads_bytes)
        sender = folder / f"{SENDER}{name}"
        if sent_by is None:
            sender.unlink(missing_ok=True)
        else:
            sender.write_text(sent_by, encoding="utf-8")
        part.place(where)
        _settle(folder)
        self._seen = None
        status = os.stat(where)
        return _describe(folder, name, status), Outcome.REPLACED if before else Outcome.STORED

    def _remove(self, folder: Path, name: str) -> bool:
        where = folder / name
        status = _status(where)
        if status is None or not S_ISREG(status.st_mode):
            return False
        where.unlink()
        (folder / f"{SENDER}{name}").unlink(missing_ok=True)
        _settle(folder)
        self._seen = None
        return True


def _full(most: int) -> NoRoom:
    return NoRoom(f"All documents together may have {most:,} bytes. Remove some first.")


def _list(folder: Path) -> list[Uploaded]:
    """The documents by name: regular files that are not hidden, also those that somebody put there by hand."""
    with os.scandir(folder) as entries:
        found = [one for one in entries if not one.name.startswith(".") and one.is_file(follow_symlinks=False)]
    return sorted((_describe(folder, one.name, one.stat()) for one in found), key=lambda one: one.name)


def _describe(folder: Path, name: str, status: os.stat_result) -> Uploaded:
    try:
        sent_by = (folder / f"{SENDER}{name}").read_text(encoding="utf-8") or None
    except (OSError, UnicodeDecodeError):
        sent_by = None
    return Uploaded(name, status.st_size, status.st_mtime, sent_by)


def _status(where: Path) -> os.stat_result | None:
    try:
        return os.lstat(where)
    except FileNotFoundError:
        return None


def _settle(folder: Path) -> None:
    """The names in the folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(folder: Path, exc: OSError) -> str:
    """Why the folder is no use, and whose it is."""
    try:
        status = os.stat(folder)
        owner = f" It belongs to user {status.st_uid}, and this process is user {os.geteuid()}."
    except OSError:
        owner = ""
    return f"UPLOADS_DIR={folder} cannot be used: {exc.strerror or exc}.{owner}"
