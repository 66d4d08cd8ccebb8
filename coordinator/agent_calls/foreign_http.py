"""The HTTP calls of one attempt at a foreign agent, all within the attempt's seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from coordinator.agent_calls import foreign_a2a
from coordinator.agent_calls.foreign_prompt import ForeignCall, parse_reason
from shared.client import client as transport
from shared.client.client import DeadlineExceeded, Whole
from shared.contracts import MAX_RESULT_BYTES
from shared.errors import AgentUnreachable, StepTimeout
from shared.http_failures import failure_from_answer
from shared.server import sse
from shared.strict_json import strict_json

CARD_SECONDS = 5.0  # to fetch an agent's card


class ForeignSender:
    """`headers` go with every POST; `first_byte_at` is when the first good answer began (monotonic)."""

    def __init__(
        self, http: httpx.AsyncClient, seconds: float, headers: dict[str, str], now: Callable[[], float]
    ) -> None:
        self._http = http
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        self._headers = headers
        self._now = now
        self.first_byte_at: float | None = None

    @contextlib.asynccontextmanager
    async def open(self, call: ForeignCall) -> AsyncIterator[Whole | httpx.Response]:
        """Sends a POST; yields a good answer, whole or as an event stream. Raises a `StepFailure` for any other."""
        headers = {"Content-Type": "application/json", "Accept": f"application/json, {sse.MEDIA_TYPE}"}
        headers |= self._headers | call.headers
        answer = await self._send("POST", call.url, self._seconds_left, headers, call.body, streams=sse.MEDIA_TYPE)
        self.first_byte_at = self.first_byte_at or self._now()
        if isinstance(answer, Whole):
            if answer.status != 200:
                raise failure_from_answer(answer, parse_reason(answer.body))
            yield answer
            return
        try:
            yield answer
        finally:
            await answer.aclose()

    async def call(self, call: ForeignCall) -> dict[str, Any]:
        """The result of one JSON-RPC call."""
        async with self.open(call) as answer:
            return foreign_a2a.parse_response(answer.body if isinstance(answer, Whole) else await answer.aread())

    async def fetch_card(self, url: str) -> Any:
        """The agent's card as JSON; None if it has none."""
        seconds = min(CARD_SECONDS, self._seconds_left)
        headers = {"Accept": "application/json", "A2A-Version": "1.0"}
        try:
            answer = await self._send("GET", url, seconds, headers, b"")
        except DeadlineExceeded as exc:
            raise AgentUnreachable(f"The agent's card did not arrive within {seconds:.1f} s.") from exc
        assert isinstance(answer, Whole)
        if answer.status in (429, 503) or 500 <= answer.status < 600:
            raise failure_from_answer(answer, parse_reason(answer.body))
        try:
            return strict_json(answer.body) if answer.status == 200 else None
        except ValueError:
            return None

    async def _send(
        self, method: str, url: str, seconds: float, headers: dict[str, str], body: bytes, *, streams: str = ""
    ) -> Whole | httpx.Response:
        return await transport.fetch(
            self._http, method, url, headers, body, seconds=seconds, max_bytes=MAX_RESULT_BYTES, streams=streams
        )

    @property
    def _seconds_left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise StepTimeout(f"No answer within {self._seconds:.1f} s.")
        return left
