"""One call to a web provider's API: transient failures are retried, and every failure has a name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from shared.calls.noting import note
from shared.errors import WorkerFault
from shared.strict_json import json_pointer

ATTEMPTS = 3
SPARE_SECONDS = 0.5  # a wait that leaves less than this of the step's time is not begun
USER_AGENT = f"Muster/0.1 (self-hosted multi-agent backend; researcher) python-httpx/{httpx.__version__}"

Shape = TypeVar("Shape", bound=BaseModel)


class RateLimited(WorkerFault):
    def __init__(self, provider: str, wait: float | None, detail: str = "") -> None:
        when = f" Its Retry-After of {wait:.0f} s is longer than the step has left." if wait else ""
        super().__init__(
            f"{provider} reports too many requests{detail}.{when}",
            type="search_rate_limited",
            retryable=True,
        )


@dataclass(frozen=True)
class Api:
    """How a provider's API is called.

    `seconds` bounds one attempt, `seconds_left` says what the step has; `sleep` and `now` (wall time, for
    `Retry-After` as a date) come from outside so that tests need not wait.
    """

    provider: str
    http: httpx.AsyncClient
    seconds: float
    seconds_left: Callable[[], float]
    hints: Mapping[int, str]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def ask(self, shape: type[Shape], method: str, url: str, **call: Any) -> Shape:
        """The answer as `shape`. `call` goes to `httpx.AsyncClient.request`; `hints` explain a status to the operator.

        Raises WorkerFault "search_rate_limited", "search_timeout", "search_unavailable" (after 3 attempts, or
        when the next wait does not fit into the step's time), "search_refused" or "search_bad_answer".
        """
        with note("search", self.provider):
            return await self._ask(shape, method, url, call)

    async def _ask(self, shape: type[Shape], method: str, url: str, call: Mapping[str, Any]) -> Shape:
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_Again), stop=self._hopeless, wait=_wait, sleep=self.sleep, reraise=True
            ):
                with attempt:
                    return self._read(shape, await self._sent(method, url, call))
        except _Again as exc:
            raise exc.fault from exc
        raise AssertionError("tenacity either returns or raises")

    async def _sent(self, method: str, url: str, call: Mapping[str, Any]) -> httpx.Response:
        seconds = max(0.1, min(self.seconds, self.seconds_left()))
        try:
            async with asyncio.timeout(seconds):
                answer = await self.http.request(method, url, **call)
        except (TimeoutError, httpx.TimeoutException) as exc:
            raise _Again(self._fault("search_timeout", f"did not answer within {seconds:.1f} s", again=True)) from exc
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as exc:
            raise self._fault("search_refused", f"cannot be called at {url!r} ({exc}): check SEARCH_URL") from exc
        except httpx.TransportError as exc:
            what = f"cannot be reached ({exc or type(exc).__name__})"
            raise _Again(self._fault("search_unavailable", what, again=True)) from exc
        except httpx.HTTPError as exc:
            raise self._fault("search_bad_answer", f"sent an answer that cannot be decoded ({exc})") from exc
        if answer.status_code == 429:
            wait = retry_after(answer.headers, self.now())
            raise _Again(RateLimited(self.provider, wait), wait)
        if answer.status_code >= 500:
            what = f"answered HTTP {answer.status_code}"
            raise _Again(self._fault("search_unavailable", what, again=True), retry_after(answer.headers, self.now()))
        return answer

    def _read(self, shape: type[Shape], answer: httpx.Response) -> Shape:
        status = answer.status_code
        if status >= 400:
            hint = self.hints.get(status, "")
            said = _explain(answer)
            raise self._fault("search_refused", f"answered HTTP {status}{said}{': ' if hint else ''}{hint}")
        if status >= 300:
            where = answer.headers.get("location", "elsewhere")
            raise self._fault("search_bad_answer", f"redirects to {where}: set SEARCH_URL to the address itself")
        try:
            data = json.loads(answer.content)
        except (UnicodeDecodeError, ValueError, RecursionError) as exc:
            raise self._fault("search_bad_answer", f"sent {_kind(answer)} instead of JSON") from exc
        try:
            return shape.model_validate(data)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            where = json_pointer(first["loc"]) or "/"
            raise self._fault("search_bad_answer", f"sent JSON of the wrong shape ({where}: {first['msg']})") from exc

    def _hopeless(self, state: RetryCallState) -> bool:
        return state.attempt_number >= ATTEMPTS or _wait(state) > self.seconds_left() - SPARE_SECONDS

    def _fault(self, type_: str, what: str, *, again: bool = False) -> WorkerFault:
        return WorkerFault(f"{self.provider} {what}.", type=type_, retryable=again)


def retry_after(headers: httpx.Headers, now: datetime) -> float | None:
    """Seconds to wait by `Retry-After` (RFC 9110, 10.2.3: seconds or a date), else by Brave's X-RateLimit-Reset."""
    value = headers.get("retry-after", "").strip()
    if not value:
        value = headers.get("x-ratelimit-reset", "").split(",")[0].strip()
    if value.replace(".", "", 1).isdigit() and value.isascii():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds())


class _Again(Exception):
    """A failure that may pass; `wait` in seconds where the provider said how long."""

    def __init__(self, fault: WorkerFault, wait: float | None = None) -> None:
        super().__init__(fault.detail)
        self.fault = fault
        self.wait = wait


_backoff = wait_exponential_jitter(multiplier=0.2, max=2.0, jitter=0.2)


def _wait(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, _Again) and failure.wait is not None:
        return failure.wait
    return _backoff(state)


def _explain(answer: httpx.Response) -> str:
    """What the provider says about its refusal, cut short; nothing where it is a page for people."""
    try:
        data = json.loads(answer.content)
    except (UnicodeDecodeError, ValueError, RecursionError):
        return ""
    while isinstance(data, dict):
        data = next((data[key] for key in ("detail", "error", "message", "info") if data.get(key)), None)
    return f" ({data[:200]})" if isinstance(data, str) else ""


def _kind(answer: httpx.Response) -> str:
    if not answer.content.strip():
        return "an empty body"
    declared = answer.headers.get("content-type", "").split(";")[0].strip()
    return f"{declared}" if declared and "json" not in declared else "something broken"
