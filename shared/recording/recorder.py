"""What one step exchanges with the world outside, written down within bounds, to travel with the step's answer."""

from __future__ import annotations

import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx
from pydantic_core import from_json, to_json

from shared.errors import MusterError
from shared.recording.failures import write_failure
from shared.recording.tape import TAPE

MOST_EXCHANGE = 262_144  # bytes of one question or answer; of a longer one only its size is kept
MOST_STEP = 2_000_000  # bytes of all exchanges of a step; what comes after is only counted
MOST_READS = 10_000  # looks at clocks and chance of a step
PLAIN = 600  # bytes up to which compressing costs more than it saves
T = TypeVar("T")


class Recorder:
    """A tape that writes; safe for the concurrent parts of one step."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began = now()
        self._size = 0
        self._lost = 0
        self.entries: list[dict[str, Any]] = []
        self.reads: dict[str, list[Any]] = {}

    async def exchange(self, kind: str, asked: Any, do: Callable[[], Awaitable[Any]]) -> Any:
        """Writes the exchange down when it has ended; what is exchanged within it is a part of it."""
        entry: dict[str, Any] = {"kind": kind, "asked": asked}
        muted = TAPE.set(None)
        try:
            answer = entry["answer"] = await do()
            return answer
        except (MusterError, httpx.TransportError) as exc:
            entry["failure"] = write_failure(exc)
            raise
        finally:
            TAPE.reset(muted)
            self._add(entry)

    def read(self, kind: str, look: Callable[[], T]) -> T:
        found = look()
        reads = self.reads.setdefault(kind, [])
        if len(reads) < MOST_READS:
            reads.append(round(found, 6) if isinstance(found, float) else found)
        return found

    def _add(self, entry: dict[str, Any]) -> None:
        entry["at"] = round(self._now() - self._began, 6)
        if (size := len(to_json(entry, fallback=str))) > MOST_EXCHANGE:
            for part in ("asked", "answer"):
                if part in entry and len(text := to_json(entry[part], fallback=str)) > MOST_EXCHANGE:
                    entry[part] = {"cut": len(text), "crc": zlib.crc32(text)}
            size = len(to_json(entry, fallback=str))
        if self._size + size > MOST_STEP:
            self._lost += 1
            return
        self._size += size
        self.entries.append(entry)

    def write(self, recipe: Mapping[str, Any] | None, attempt: int) -> str:
        """All of it as one line of text: JSON, or base64 of JSON that zlib has compressed."""
        told = {"recipe": recipe, "attempt": attempt, "entries": self.entries, "reads": self.reads}
        text = to_json(told | ({"lost": self._lost} if self._lost else {}), fallback=str)
        return text.decode() if len(text) <= PLAIN else b64encode(zlib.compress(text, 1)).decode()


def _decompress(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(packed, 4 * MOST_STEP)
    if unpacking.unconsumed_tail:
        raise ValueError("A recording is larger than any that a worker makes.")
    return text


def read_recording(text: str) -> dict[str, Any]:
    """What `Recorder.write` has written; raises ValueError, also for what would become too large."""
    try:
        found = from_json(text if text.startswith("{") else _decompress(b64decode(text)))
    except zlib.error as exc:
        raise ValueError(f"A recording cannot be decompressed: {exc}.") from exc
    if not isinstance(found, dict):
        raise ValueError("A recording is not a JSON object.")
    return found
