"""The high-water mark beside a file: a number that the file's content has reached, for its next opening to compare."""

from __future__ import annotations

import os
from pathlib import Path
from zlib import crc32

END = "-mark"


def read_mark(path: Path) -> int | None:
    """None where there is none, or it is not as it was written."""
    try:
        number, _, checksum = Path(f"{path}{END}").read_text(errors="replace").strip().partition(" ")
    except OSError:
        return None
    return int(number) if number.isdecimal() and checksum == _sum(number) else None


def write_mark(path: Path, number: int) -> None:
    """It is on the disk when this returns; takes no new space where there was one."""
    mark = os.open(f"{path}{END}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        text = f"{number:020}"
        os.pwrite(mark, f"{text} {_sum(text)}\n".encode(), 0)
        os.fdatasync(mark)
    finally:
        os.close(mark)


def _sum(number: str) -> str:
    return f"{crc32(number.encode()):08x}"
