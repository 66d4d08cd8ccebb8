"""Sessions of people at a browser: a signed cookie that stands for a key, as long as that key is valid."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from coordinator.access.keys import Key, Keys

COOKIE = "muster_session"
SESSION_SECONDS = 43_200.0  # a working day; then the key is asked for again
MOST_ENDED = 10_000  # sessions that were logged out and are remembered until their time is over


@dataclass(frozen=True)
class Session:
    """A log-in with `key`. `nonce` identifies the session; `until` is its end in Unix seconds."""

    key: Key
    nonce: str
    until: float


class Sessions:
    """Nothing of a session is stored here, so it outlives a restart; it ends with its time, its log-out or its key.

    `secret` is the coordinator's own, `wall` the clock in Unix seconds. A log-out is forgotten by a restart, unless who
    is told of it (`ended`: the session's nonce and end) keeps it.
    """

    def __init__(self, keys: Keys, secret: bytes, *, wall: Callable[[], float]) -> None:
        self._keys = keys
        self._secret = secret
        self._wall = wall
        self._ended: dict[str, float] = {}
        self.ended: Callable[[str, float], None] = lambda nonce, until: None

    @property
    def wanted(self) -> bool:
        """Whether people need one at all."""
        return self._keys.wanted

    def begin(self, token: str) -> str | None:
        """The cookie for whoever sent this key; None if it is not valid."""
        if (key := self._keys.find(token)) is None:
            return None
        said = f"{self._sign('key', key.digest.hex())}.{self._wall() + SESSION_SECONDS:.0f}.{secrets.token_urlsafe(16)}"
        return f"{said}.{self._sign('session', said)}"

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie; None for one that is no cookie of ours, is over, or whose key has gone."""
        said, _, seal = cookie.rpartition(".")
        if not hmac.compare_digest(self._sign("session", said).encode(), seal.encode("utf-8", "replace")):
            return None
        mark, until, nonce = said.split(".")
        key = next((k for k in self._keys.list_valid() if self._sign("key", k.digest.hex()) == mark), None)
        session = Session(key, nonce, float(until)) if key else None
        return session if session and self.is_valid(session) else None

    def is_valid(self, session: Session) -> bool:
        """Whether it still stands for its key."""
        over = self._wall() >= session.until or session.nonce in self._ended
        return not over and session.key in self._keys.list_valid()

    def end(self, session: Session) -> None:
        """Its cookie opens nothing from now on."""
        self.forget(session.nonce, session.until)
        self.ended(session.nonce, session.until)

    def forget(self, nonce: str, until: float) -> None:
        """A session has been logged out, here or at another coordinator."""
        if len(self._ended) >= MOST_ENDED:
            self._ended = {nonce: until for nonce, until in self._ended.items() if until > self._wall()}
        self._ended[nonce] = until

    def form_token(self, session: Session | None) -> str:
        """What every form of a session's pages carries, and no page of another site can know."""
        return self._sign("form", session.nonce if session else "")

    def _sign(self, what: str, text: str) -> str:
        return hmac.digest(self._secret, f"console:{what}:{text}".encode("utf-8", "replace"), "sha256").hex()[:43]
