"""Keeps one worker in the coordinator's registry: register on start, again every 2 s, withdraw at the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from urllib.parse import urlsplit

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from shared import logs
from shared.agent import Member
from shared.client import client as transport
from shared.client.client import Whole
from shared.contracts import SECRET, AgentStatus, Registered, Registration
from shared.worker.identity import Identity
from shared.worker.reaching import NotReached, find_endpoint

BEAT_SECONDS = 2.0  # three fit into the coordinator's lease of 6 s
CALL_SECONDS = 2.0
RENEWAL_SECONDS = 1.0
MAX_ANSWER_BYTES = 65_536
SHOWN_BYTES = 600  # of a refusal, in the log


class Heartbeat:
    """Knows the key that the coordinator signs with, once registered."""

    def __init__(
        self,
        *,
        client: httpx.AsyncClient,
        coordinator_url: str,
        registration: Registration,
        identity: Identity,
        api_key: str | None,
        asks: bool = False,
    ) -> None:
        """With `asks`, the coordinator says at which address it reaches the registration's port."""
        self._client = client
        self._url = coordinator_url.rstrip("/")
        self._registration = registration
        self._identity = identity
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._log = logs.get(coordinator=self._url)
        self._body = self._write()
        self._registered: Registered | None = None
        self._joined = asyncio.Event()
        self._complained: str | None = None
        self._renewing = asyncio.Lock()
        self._next_renewal = 0.0
        self._asks = asks
        self._placed = False
        self._place_missed = ""

    @property
    def key(self) -> bytes | None:
        return bytes.fromhex(self._registered.key) if self._registered else None

    @property
    def member(self) -> Member | None:
        """Who this worker is to the coordinator, once registered."""
        return Member(self._registered.agent_id, bytes.fromhex(self._registered.key)) if self._registered else None

    async def wait_until_joined(self, seconds: float) -> bool:
        """Waits so long for the first registration; whether it has come."""
        if not self._joined.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._joined.wait(), seconds)
        return self._joined.is_set()

    async def renew(self, tried: bytes | None) -> bool:
        """Registers at once, where `tried` is still the key; whether there is another key now.

        A coordinator with another journal, for example a restored one, signs with another key, and knows this worker
        from that journal. At most once a second, because any caller can send an envelope that is refused.
        """
        async with self._renewing:
            if self.key == tried and (now := time.monotonic()) >= self._next_renewal:
                self._next_renewal = now + RENEWAL_SECONDS
                with contextlib.suppress(httpx.HTTPError):
                    await self._beat()
            return self.key != tried

    async def run(self) -> None:
        """Registers every 2 s; a coordinator that is away is retried at once, then after growing pauses up to 2 s.

        The first pauses are short: services that start together wait for each other no longer than they must.
        """
        await asyncio.sleep(0.05)  # the server listens right after its lifespan began
        while True:
            pauses = wait_random_exponential(multiplier=0.05, max=BEAT_SECONDS)
            async for attempt in AsyncRetrying(retry=retry_if_exception_type(httpx.HTTPError), wait=pauses):
                with attempt:
                    await self._beat()
            with contextlib.suppress(httpx.HTTPError):
                while True:  # without tenacity while all goes well: it was a fifth of a beat
                    await asyncio.sleep(BEAT_SECONDS)
                    await self._beat()

    async def withdraw(self) -> None:
        """Tells the coordinator that this worker takes no more and is gone."""
        if self._registered is None:
            return
        with contextlib.suppress(httpx.HTTPError):
            await self._client.delete(
                f"{self._url}/agents/{self._registered.agent_id}",
                headers=self._headers | {SECRET: self._identity.secret},
            )

    async def drain(self) -> None:
        """Tells the coordinator to send nothing new."""
        self._registration = self._registration.model_copy(update={"draining": True})
        self._body = self._write()
        with contextlib.suppress(httpx.HTTPError):
            await self._beat()

    def _write(self) -> bytes:
        """The registration as it is sent, the same bytes for all beats."""
        who = {"instance": self._identity.instance, "secret": self._identity.secret}
        return self._registration.model_copy(update=who).model_dump_json().encode()

    async def _find_place(self) -> None:
        """Has the endpoint registered at which the coordinator says it reaches this worker; if nowhere, as it was."""
        port = urlsplit(self._registration.endpoint).port or 80
        try:
            name = self._registration.name
            endpoint = await find_endpoint(self._client, self._url, self._headers, name=name, port=port)
        except NotReached as exc:
            if str(exc) != self._place_missed:
                self._log.warning("agent.not_reached", tried=str(exc))
                self._place_missed = str(exc)
            return
        self._placed, self._place_missed = True, ""
        if endpoint != self._registration.endpoint or self._registered is None:
            self._registration = self._registration.model_copy(update={"endpoint": endpoint})
            self._body = self._write()
            self._log.info("agent.reached", endpoint=endpoint)

    async def _beat(self) -> None:
        try:
            if self._asks and not self._placed:
                await self._find_place()
            answer = await transport.fetch(
                self._client,
                "POST",
                f"{self._url}/register_agent",
                {"Content-Type": "application/json", **self._headers},
                self._body,
                seconds=CALL_SECONDS,
                max_bytes=MAX_ANSWER_BYTES,
            )
            assert isinstance(answer, Whole)
            if answer.status == 403 and b"secret_refused" in answer.body:
                self._identity.renew()
                self._body = self._write()
            if not 200 <= answer.status < 300:
                raise _Refused(answer)
            registered = Registered.model_validate_json(answer.body)
        except (httpx.HTTPError, ValueError) as exc:
            if (reason := _classify(exc)) != self._complained:  # each reason once, not every beat
                self._log.warning("coordinator.unreachable", why=_explain(exc))
                self._complained = reason
            if isinstance(exc, ValueError):
                raise httpx.DecodingError("The coordinator's response is not a registration.") from exc
            raise
        if self._registered is None or self._complained:
            self._log.info("agent.registered", agent_id=registered.agent_id)
        self._registered, self._complained = registered, None
        self._placed = self._placed and registered.status != AgentStatus.UNREACHABLE
        self._joined.set()


class _Refused(httpx.HTTPError):
    """The coordinator answered, and does not take the registration."""

    def __init__(self, answer: Whole) -> None:
        super().__init__(f"HTTP {answer.status}: {answer.body[:SHOWN_BYTES].decode(errors='replace')}")
        self.status = answer.status


def _classify(exc: Exception) -> str:
    return str(exc.status) if isinstance(exc, _Refused) else type(exc).__name__


def _explain(exc: Exception) -> str:
    return str(exc) if isinstance(exc, _Refused) else f"{type(exc).__name__}: {exc}"
