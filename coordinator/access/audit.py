"""Who did what, and from where: a log line and a durable event for each, so bounded that no flood fills the disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from pydantic import JsonValue

from coordinator.access.caller import Caller
from coordinator.access.newcomers import Bucket
from shared import logs

A_MINUTE, AT_ONCE = 60, 100  # entries a kind; what is beyond is counted, and told with the next one
USED_SECONDS = 3_600.0  # a key that is used again in the same way, from the same address, is told once in so long
KEPT = 1_000  # ways in which keys are used
Tell = Callable[[str, Mapping[str, JsonValue]], None]


class Audit:
    """`tell` writes an event into the journal, once that is open."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._log = logs.get()
        self._buckets: dict[str, Bucket] = {}
        self._dropped: dict[str, int] = {}
        self._used: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self.tell: Tell | None = None

    def write(self, kind: str, caller: Caller, **what: JsonValue) -> None:
        """One entry: `audit.<kind>`, the caller's key and address, and what it was about."""
        bucket = self._buckets.setdefault(kind, Bucket(a_minute=A_MINUTE, at_once=AT_ONCE, now=self._now))
        if bucket.take() is not None:
            self._dropped[kind] = self._dropped.get(kind, 0) + 1
            return
        data: dict[str, JsonValue] = {"caller": caller.key, "address": caller.address, **what}
        if (dropped := self._dropped.pop(kind, 0)) > 0:
            data["not_told"] = dropped
        self._log.warning(f"audit.{kind}", **data) if "refused" in kind else self._log.info(f"audit.{kind}", **data)
        if self.tell is not None:
            self.tell(f"audit.{kind}", data)

    def write_use(self, caller: Caller, *, scope: str, method: str, path: str) -> None:
        """An entry for a key that was used: the first of each hour for a scope and an address."""
        way, now = (str(caller.key), caller.address, scope), self._now()
        told = self._used.get(way)
        if told is not None and now - told < USED_SECONDS:
            return
        self._used[way] = now
        self._used.move_to_end(way)
        if len(self._used) > KEPT:
            self._used.popitem(last=False)
        self.write("key_used", caller, scope=scope, method=method, path=path)
