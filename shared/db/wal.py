"""The write-ahead log as it is on the disk: SQLite reads it up to its first damaged frame, and is silent on the rest.

The formats are SQLite's: https://sqlite.org/walformat.html. What SQLite had acknowledged is in the index beside the log
(`-shm`), which outlives a killed process; and each commit is on the disk before the next one is written.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # and how the words of a checksum are read
_HEADER = struct.Struct(">IIII8s8s")  # magic, version, page size, checkpoints, salts, checksum
_FRAME = struct.Struct(">II8s8s")  # page, size of the file after a commit (else 0), salts, checksum
_INDEX = struct.Struct("=IIIBBHII8s8sII")  # …, frames at 6, salts at 9, checksum at 10 and 11


@dataclass(frozen=True)
class Index:
    """How many frames of the log with these salts are part of the database."""

    frames: int
    salts: bytes


def read_index(path: Path) -> Index | None:
    """From the index of the log of a file that no connection of this process has open; None where it says nothing."""
    try:
        with Path(f"{path}-shm").open("rb") as file:
            first, second = file.read(_INDEX.size), file.read(_INDEX.size)
    except OSError:
        return None
    if len(first) < _INDEX.size or first != second:
        return None
    fields = _INDEX.unpack(first)
    if _sum(first[:40], "=") != fields[10:12] or not fields[3]:
        return None
    return Index(fields[6], fields[9])


def count_lost(path: Path, promised: Index | None, found: Index | None) -> int:
    """Frames that were written for certain and that SQLite does not read.

    `promised` is the index as the last process left it, `found` as SQLite has made it anew.
    """
    try:
        with Path(f"{path}-wal").open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(_HEADER.size)
            frames_promised = promised.frames if promised is not None else 0
            if len(head) < _HEADER.size or not any(head):
                return frames_promised
            magic, _, page, _, salts, checksum = _HEADER.unpack(head)
            words = _MAGIC.get(magic)
            if words is None or struct.pack(">II", *_sum(head[:24], words)) != checksum:
                return frames_promised or (0 if promised is not None else max(1, size // 4096))
            valid = found.frames if found is not None and found.salts == salts else 0
            lost = frames_promised - valid if promised is not None and promised.salts == salts else 0
            return max(lost, _count_after(file.fileno(), valid, size=size, page=page, salts=salts))
    except FileNotFoundError:
        return 0


def _count_after(log: int, valid: int, *, size: int, page: int, salts: bytes) -> int:
    """Frames of this log after the last one that is read, where there was a commit among them that others followed.

    What a crash leaves is a part of one commit only.
    """
    count = 0
    committed = followed = False
    for start in range(_HEADER.size + valid * (_FRAME.size + page), size - _FRAME.size + 1, _FRAME.size + page):
        with suppress(struct.error):
            _, commit, mark, _ = _FRAME.unpack(os.pread(log, _FRAME.size, start))
            if mark == salts:
                count += 1
                followed = followed or committed
                committed = committed or commit > 0
    return count if followed else 0


def _sum(data: bytes, words: str) -> tuple[int, int]:
    one = two = 0
    values = struct.unpack(f"{words}{len(data) // 4}I", data)
    for x, y in zip(values[::2], values[1::2], strict=True):
        one = (one + x + two) & 0xFFFFFFFF
        two = (two + y + one) & 0xFFFFFFFF
    return one, two
