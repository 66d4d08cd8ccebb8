"""Log-outs of people at a browser, so that a cookie that is over at one coordinator is over at all."""

from __future__ import annotations

from collections.abc import Callable

from coordinator.access.sessions import Sessions
from coordinator.journal.store import Store
from shared.db.database import Statement

_PREFIX = "logged_out."
_ADD = "INSERT INTO meta (key, value) VALUES (:key, :until::text) ON CONFLICT (key) DO NOTHING"
_ALL = f"SELECT substr(key, {len(_PREFIX) + 1}), value::float8 FROM meta WHERE starts_with(key, '{_PREFIX}')"
_DROP = f"DELETE FROM meta WHERE starts_with(key, '{_PREFIX}') AND value::float8 < :now"


class SharedSessions:
    """Keeps log-outs in the journal, and follows those of the others."""

    def __init__(self, sessions: Sessions, store: Store, wall: Callable[[], float]) -> None:
        self._sessions = sessions
        self._store = store
        self._wall = wall
        sessions.ended = self._write

    def _write(self, nonce: str, until: float) -> None:
        self._store.post("store.log_out", Statement(_ADD, {"key": f"{_PREFIX}{nonce}", "until": until}))

    async def look(self) -> None:
        """Takes what has been logged out since the last look."""
        for nonce, until in await self._store.read(_ALL):
            self._sessions.forget(nonce, until)

    def forget_old(self) -> None:
        """Deletes log-outs of sessions whose time is over."""
        self._store.post("store.forget_log_outs", Statement(_DROP, {"now": self._wall()}))
