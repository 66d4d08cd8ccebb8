"""A step's tape that plays: what was asked is answered as it was recorded, and what was not asked before is told."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic_core import to_json

from coordinator.replay.differences import Difference, as_json
from shared.errors import MusterError
from shared.recording.failures import read_failure

T = TypeVar("T")


class NotRecorded(MusterError):
    """The record holds no answer to what a replay asks."""

    type, title = "not_recorded", "Not in the record"


class Player:
    """Plays the exchanges and reads of one recording; `tell` gets what differs, unless the step is `free` to differ.

    `began` is when the step did, by the loop's clock.
    """

    def __init__(
        self, told: dict[str, Any], *, began: float, where: str, free: bool, tell: Callable[[Difference], None]
    ) -> None:
        self._entries: list[dict[str, Any]] = list(told.get("entries", ()))
        self._reads: dict[str, list[Any]] = {kind: list(read) for kind, read in told.get("reads", {}).items()}
        self._where = where
        self._free = free
        self._tell = tell
        self._began = began

    async def exchange(self, kind: str, asked: Any, do: Callable[[], Awaitable[Any]]) -> Any:
        """What was recorded for `asked`, after as long as it took; raises what was raised, and `NotRecorded`."""
        entry = self._find(kind, as_json(asked))
        loop = asyncio.get_running_loop()
        if (left := self._began + entry["at"] - loop.time()) > 0:
            await asyncio.sleep(left)
        if "failure" in entry:
            raise read_failure(entry["failure"])
        answer = entry.get("answer")
        if "answer" not in entry:
            await loop.create_future()  # it was cut off
        if isinstance(answer, dict) and answer.keys() == {"cut", "crc"}:
            raise NotRecorded(
                f"{self._where}: the answer of a {kind} call had {answer['cut']} bytes, too many to keep."
            )
        return answer

    def read(self, kind: str, look: Callable[[], T]) -> T:
        reads = self._reads.get(kind)
        return reads.pop(0) if reads else look()

    def _find(self, kind: str, asked: Any) -> dict[str, Any]:
        same = [entry for entry in self._entries if entry["kind"] == kind]
        entry = next((entry for entry in same if _is_same(entry["asked"], asked)), None)
        if entry is None and self._free:
            raise NotRecorded(f"{self._where} asks for a {kind} call that is not in the record. {_shorten(asked)}")
        if entry is None:
            recorded = same[0]["asked"] if same else None
            self._tell(Difference(self._where, f"another {kind} call than was recorded", recorded, asked))
            if not same:
                raise NotRecorded(f"{self._where} makes one {kind} call more than was recorded. {_shorten(asked)}")
            entry = same[0]
        self._entries.remove(entry)
        return entry


def _is_same(recorded: Any, asked: Any) -> bool:
    if isinstance(recorded, dict) and recorded.keys() == {"cut", "crc"}:  # it was too long to be kept
        return bool(zlib.crc32(to_json(asked)) == recorded["crc"])
    return bool(recorded == asked)


def _shorten(asked: Any) -> str:
    text = str(asked)
    return text if len(text) <= 300 else f"{text[:300]}…"
