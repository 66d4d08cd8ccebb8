"""Sends the HTTP calls of one attempt at a foreign agent, all of them within the attempt's seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from coordinator.agent_calls import foreign_a2a
from coordinator.agent_calls.foreign_prompt import Call, why
from coordinator.agent_calls.http_failures import refused
from shared.client.client import DeadlineExceeded
from shared.contracts import MAX_RESULT_BYTES
from shared.errors import AgentUnreachable, StepTimeout
from shared.server import sse
from shared.strict_json import strict_json

CARD_SECONDS = 5.0  # for an agent's card to come


class Sender:
    """`headers` go with every POST; `first_byte_at` is when the first good answer began (Unix seconds)."""

    def __init__(
        self, http: httpx.AsyncClient, seconds: float, headers: dict[str, str], wall: Callable[[], float]
    ) -> None:
        self._http = http
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        self._headers = headers
        self._wall = wall
        self.first_byte_at: float | None = None

    @contextlib.asynccontextmanager
    async def sent(self, call: Call) -> AsyncIterator[httpx.Response]:
        """A good answer, to be read; raises a `StepFailure` for any other."""
        headers = {"Content-Type": "application/json", "Accept": f"application/json, {sse.MEDIA_TYPE}"}
        response = await self._send("POST", call.url, self._left(), headers | self._headers | call.headers, call.body)
        try:
            self.first_byte_at = self.first_byte_at or self._wall()
            if response.status_code != 200:
                body = await response.aread()
                raise refused(response, body, why(body))
            yield response
        finally:
            await response.aclose()

    async def rpc(self, call: Call) -> dict[str, Any]:
        """The result of one JSON-RPC call."""
        async with self.sent(call) as response:
            return foreign_a2a.answered(await response.aread())

    async def card(self, url: str) -> Any:
        """The agent's card as JSON; None when it shows none."""
        seconds = min(CARD_SECONDS, self._left())
        try:
            response = await self._send("GET", url, seconds, {"Accept": "application/json", "A2A-Version": "1.0"}, b"")
            try:
                body = await response.aread()
            finally:
                await response.aclose()
        except DeadlineExceeded as exc:
            raise AgentUnreachable(f"The agent's card did not come within {seconds:.1f} s.") from exc
        if response.status_code in (429, 503) or response.is_server_error:
            raise refused(response, body, why(body))
        try:
            return strict_json(body) if response.status_code == 200 else None
        except ValueError:
            return None

    async def _send(
        self, method: str, url: str, seconds: float, headers: dict[str, str], body: bytes
    ) -> httpx.Response:
        limits = {"deadline": seconds, "max_bytes": MAX_RESULT_BYTES, "timeout": self._http.timeout.as_dict()}
        wanted = httpx.Request(method, url, content=body, headers=headers, extensions=limits)
        return await self._http.send(wanted, stream=True)

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise StepTimeout(f"No answer within {self._seconds:.1f} s.")
        return left


def kind(response: httpx.Response) -> str:
    """The media type of an answer, without its parameters."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
