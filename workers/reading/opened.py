"""One file of a folder as a document, with a note if it could not be read."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from stat import S_ISREG
from typing import BinaryIO

from shared.documents.types import MAX_BYTES, kind
from workers.reading import readers
from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable

MAX_NOTE = 500  # characters


@dataclass(frozen=True)
class Opened:
    """A document; one that could not be read has no sections and a `note` that says why.

    `again`: nothing is known against the document itself, it may be there at the next look.
    """

    document: Document
    again: bool = False


def read_file(where: str, path: str) -> Opened:
    """Reads the file `where`; its name, which tells how, is `path`. Raises MemoryError, and nothing else."""
    try:
        data = _bytes(where)
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        return unread(f"cannot be unpacked ({type(exc).__name__})")
    except Unreadable as exc:
        return unread(str(exc))
    except OSError as exc:
        return unread(f"cannot be read ({exc.strerror or type(exc).__name__})", again=True)
    try:
        document = readers.parse(data, kind(path) or "")
    except Unreadable as exc:
        return unread(str(exc))
    except MemoryError:
        raise
    except RecursionError:
        return unread("is nested too deeply")
    except Exception as exc:  # a file that a reader stumbles over must not end the reading of all the others
        return unread(f"cannot be read ({type(exc).__name__})")
    note = document.note[:MAX_NOTE] or ("" if document.sections else "has no text in it")
    return Opened(replace(document, title=document.title or PurePosixPath(path).name, note=note))


def unread(why: str, *, again: bool = False) -> Opened:
    return Opened(Document("", (), why), again)


@contextmanager
def regular(where: str) -> Iterator[BinaryIO]:
    """A regular file's content. Raises Unreadable for what else has a name, and OSError; a pipe does not wait."""
    with open(where, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as stream:
        if not S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise Unreadable("is not a regular file")
        yield stream


def _bytes(where: str) -> bytes:
    """The file's content, unpacked. Raises Unreadable for what is too large, and what open, gzip and zlib raise."""
    with regular(where) as stream:
        if os.fstat(stream.fileno()).st_size > MAX_BYTES:
            raise Unreadable(f"is larger than {MAX_BYTES // 1_000_000} MB")
        packed = where.lower().endswith(".gz")
        data = gzip.GzipFile(fileobj=stream).read(MAX_BYTES + 1) if packed else stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Unreadable(f"is larger than {MAX_BYTES // 1_000_000} MB unpacked")
    return data
