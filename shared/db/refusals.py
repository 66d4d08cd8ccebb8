"""What is said of a file of SQLite that cannot be used: errors of SQLite and of the system as Muster's own."""

from __future__ import annotations

import errno
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from shared.errors import MusterError, StorageBroken, StorageFull

FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
DAMAGE = (sqlite3.Error, UnicodeError)  # a name that is damaged may be no text, also in SQLite's own error
UNSHARED = {  # the file system cannot share memory between connections, or cannot lock it
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMLOCK,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_IOERR_LOCK,
    sqlite3.SQLITE_IOERR_RDLOCK,
    sqlite3.SQLITE_PROTOCOL,
}


@dataclass(frozen=True)
class Naming:
    """How errors speak of a file: what it is, whose, and the setting that says where it lies."""

    what: str = "The journal"
    owner: str = "coordinator"
    setting: str = "DATABASE_URL"
    remedy: str = (
        "Restore it from a backup (python -m coordinator.cli restore FOLDER), or go on with what is left of it "
        "(python -m coordinator.cli check --accept-loss)."
    )


JOURNAL = Naming()


def find_code(exc: Exception) -> int:
    """SQLite's primary result code, or one of `FULL`; 0 for what SQLite has never seen."""
    found: int = getattr(exc, "sqlite_errorcode", 0)  # errors of the sqlite3 module itself have none
    return found if found in FULL else found & 0xFF


def translate(exc: Exception) -> MusterError:
    """An error of SQLite's while the file is used."""
    if find_code(exc) in FULL:
        return StorageFull("The journal's disk is full; nothing was written. Free some space.")
    return StorageBroken(f"The journal cannot be used: {exc}.")


def explain(exc: Exception, path: Path, naming: Naming) -> MusterError:
    """An error of SQLite's or of the system's while the file is opened."""
    where = f"{naming.what} {path}"
    if isinstance(exc, OSError):
        return _explain_system(exc, where)
    if find_code(exc) in FULL:
        return StorageFull(f"{where} cannot be opened: the disk is full. Free some space.")
    if getattr(exc, "sqlite_errorcode", 0) in UNSHARED:
        return why_not_shared(path, naming)
    return StorageBroken(f"{where} is damaged or unusable ({exc}). {naming.remedy}")


def why_not_shared(path: Path, naming: Naming) -> StorageBroken:
    """The file is well, its place is not."""
    return StorageBroken(
        f"{naming.what} {path} cannot be opened: the file system of {path.parent} cannot share memory, which SQLite's "
        f"log needs; some network and desktop shares cannot. Set {naming.setting} to a folder on a local disk."
    )


def _explain_system(exc: OSError, where: str) -> MusterError:
    if exc.errno == errno.ENOSPC:
        return StorageFull(f"{where} cannot be opened: the disk is full. Free some space.")
    if exc.errno in (errno.EACCES, errno.EPERM):
        folder = Path(str(exc.filename)).parent
        what = f"This user must own the folder: chown -R {os.geteuid()} {folder}"
        return StorageBroken(f"{where} cannot be opened: {exc.strerror}. {what}")
    if exc.errno in (errno.ENOLCK, errno.EOPNOTSUPP):
        return StorageBroken(f"{where} cannot be opened: its file system has no locks. Use a local disk.")
    return StorageBroken(f"{where} cannot be opened: {exc.strerror}. Is the folder writable?")
