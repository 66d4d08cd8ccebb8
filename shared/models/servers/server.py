"""One model at one server: what is known of it, and what a call to it may carry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx

from shared.errors import ModelFailed
from shared.models.servers.abilities import Abilities
from shared.models.servers.asked import ModelRequest, body
from shared.models.servers.breaker import Breaker
from shared.models.servers.pace import MARGIN, Pace, Room
from shared.models.servers.places import Places
from shared.models.servers.refusals import SHOWN_CHARACTERS

SMALLEST_REPLY = 16  # tokens that are worth a call
MOST_PROMPT = 8_000  # tokens that are sent in one call where nothing says that it may be more or must be less


class Server:
    """Safe to share between requests; all of them share its speeds, its places and its breaker."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        url: str,
        *,
        name: str,
        key: str | None = None,
        places: int = 2,
        context: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.url = url
        self.http = http
        self.known = Abilities(context=context)
        self.pace = Pace()
        self.places = Places(places)
        self.breaker = Breaker()
        self.starting: asyncio.Task[None] | None = None  # the first call of the process
        self.started = time.monotonic()
        self.loading = False  # it says so
        self.doubted = asyncio.Event()  # it has become too slow for a call: its speed should be measured again
        self._extra = dict(extra or {})
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def room(self, seconds: float, *, reply_tokens: int) -> Room:
        """What a call may carry that has its turn and has to end in so many seconds."""
        reply, prompt = reply_tokens + self.known.thinking, MOST_PROMPT
        if self.known.context is not None:
            reply = min(reply, self.known.context // 3)
            prompt = int((self.known.context - reply) * MARGIN)
        found = self.pace.room(seconds, prompt=min(MOST_PROMPT, prompt), reply=reply, now=time.monotonic())
        found = replace(found, reply_tokens=min(reply_tokens, found.reply_tokens))
        why = (
            ""
            if min(found.prompt_tokens, found.reply_tokens) >= SMALLEST_REPLY
            else f"There were {seconds:.1f} s, too few for its speed."
        )
        return replace(found, why=why)

    def sent(self, asked: ModelRequest, reply: int) -> dict[str, Any]:
        """The body of a call."""
        return body(asked, self.known, model=self.name, reply=reply, extra=self._extra)

    def failed(self, why: str) -> ModelFailed:
        return ModelFailed(f"Model {self.name!r} failed: {why[:SHOWN_CHARACTERS]}")
