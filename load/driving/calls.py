"""One task sent to a coordinator, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import aiohttp

GRACE_SECONDS = 2.0  # a coordinator answers by the task's deadline + 1 s; later does not count
KEEP_ALIVE_SECONDS = 4.0  # less than a server's usual 5: a connection it is just closing would look like an error
COMPLETED = "completed"
_TYPES = {401: "unauthorized", 404: "not_found", 429: "overloaded", 503: "unavailable"}


@dataclass(frozen=True, slots=True)
class Call:
    """One task as its caller saw it.

    `began` is when it started, or was meant to (seconds on the clock of `time.monotonic`). `reason` is `completed`,
    another status of the task, a problem type, `no_answer`, `connection_failed` or `not_sent`. `carried` says whether
    the coordinator took it: a refusal at the door takes no time and counts in no latency. `culprits` are the steps that
    were not done, as "agent: error type".
    """

    began: float
    seconds: float
    reason: str
    carried: bool = True
    culprits: tuple[str, ...] = ()
    retry_after: float = 0.0

    @property
    def ok(self) -> bool:
        return self.reason == COMPLETED


class Sender:
    """Sends tasks over one pool of connections, as many at once as are asked for."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        questions: Sequence[str],
        timeout_seconds: float,
        api_key: str | None = None,
    ) -> None:
        bodies = [{"task_description": text, "timeout_seconds": timeout_seconds} for text in questions]
        self._bodies = cycle([json.dumps(body).encode() for body in bodies])
        self._session = session
        self._url = f"{url}/execute_task"
        self._headers = {"Content-Type": "application/json", **build_headers(api_key)}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds + GRACE_SECONDS)

    async def send(self, began: float) -> Call:
        """Sends one task and returns its outcome; never raises for what a server or a network does."""
        try:
            async with self._session.post(
                self._url,
                data=next(self._bodies),
                headers=self._headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as answer:
                body = await answer.read()
        except TimeoutError:
            return Call(began, time.monotonic() - began, "no_answer")
        except (aiohttp.ClientError, OSError):
            return Call(began, time.monotonic() - began, "connection_failed", carried=False)
        return read_answer(answer.status, body, answer.headers.get("Retry-After"), began, time.monotonic() - began)


def open_session() -> aiohttp.ClientSession:
    """Opens a client without a limit of connections; `async with` closes it."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def build_headers(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def read_answer(status: int, body: bytes, retry_after: str | None, began: float, seconds: float) -> Call:
    """Turns an HTTP answer into a Call."""
    try:
        said: Any = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        said = {}
    wait = 0.0
    with contextlib.suppress(ValueError):
        wait = max(0.0, float(retry_after or 0))
    if status == 200:
        reason = str(said.get("status") or "bad_answer")
        return Call(began, seconds, reason, culprits=() if reason == COMPLETED else list_culprits(said))
    reason = re.split("[/:]", str(said.get("type") or _TYPES.get(status) or f"http_{status}"))[-1]
    task = said.get("task")
    carried = isinstance(task, dict)
    blamed = list_culprits(task) if isinstance(task, dict) else ()
    return Call(began, seconds, reason, carried=carried, culprits=blamed, retry_after=wait)


def list_culprits(task: Mapping[str, Any]) -> tuple[str, ...]:
    """Lists the steps of a TaskView that failed by themselves, as "agent: error type"."""
    found = []
    for step in task.get("results") or ():
        error = step.get("error") if isinstance(step, dict) else None
        if isinstance(error, dict) and error.get("type") != "skipped":
            found.append(f"{step.get('agent') or step.get('capability') or 'no agent'}: {error.get('type')}")
    return tuple(found)


async def wait_for_stop(stop: asyncio.Event, seconds: float) -> bool:
    """Waits until `stop` is set, at most `seconds`; returns whether it is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await stop.wait()
    return stop.is_set()
