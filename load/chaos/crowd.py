"""Many callers at once, each of which waits for its answer, and comes back when it is told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from load.chaos.project import Project


@dataclass(frozen=True)
class Answer:
    """What one call brought: 0 as its HTTP status where there was no answer."""

    http: int
    status: str
    seconds: float
    retry_after: float | None


def ask_at_rate(
    project: Project, body: Mapping[str, Any], *, rate: float, seconds: float, headers: Mapping[str, str] | None = None
) -> list[Answer]:
    """Asks by the clock for so long, whatever becomes of the calls before; waits for all answers."""

    async def send(session: aiohttp.ClientSession) -> list[Answer]:
        began, calls = time.monotonic(), []
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                calls.append(group.create_task(_ask(session, project, body, headers)))
        return [call.result() for call in calls]

    return asyncio.run(_with_session(send))


def ask_in_crowd(
    project: Project, body: Mapping[str, Any], *, callers: int, seconds: float, headers: Mapping[str, str] | None = None
) -> list[Answer]:
    """So many callers begin at once, and ask for so long, at least once each; who is refused waits as told."""

    async def send(session: aiohttp.ClientSession) -> list[Answer]:
        until, answers = time.monotonic() + seconds, []

        async def keep_asking() -> None:
            while True:
                answers.append(answer := await _ask(session, project, body, headers))
                if answer.http != 200:
                    await asyncio.sleep(max(0.0, min(answer.retry_after or 1.0, until - time.monotonic())))
                if time.monotonic() >= until:
                    return

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(keep_asking())
        return answers

    return asyncio.run(_with_session(send))


def find_quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed; infinity of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


async def _with_session(send: Any) -> list[Answer]:
    timeout, connector = aiohttp.ClientTimeout(total=60), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        found: list[Answer] = await send(session)
        return found


async def _ask(
    session: aiohttp.ClientSession, project: Project, body: Mapping[str, Any], headers: Mapping[str, str] | None
) -> Answer:
    began = time.monotonic()
    sent = {**project.authorize(), **(headers or {})}
    try:
        async with session.post(f"{project.url}/execute_task", json=body, headers=sent) as answer:
            said = await answer.json(content_type=None)
            view = said.get("task", said)
            wait = answer.headers.get("Retry-After")
            status = str(view.get("status", ""))
            return Answer(answer.status, status, time.monotonic() - began, float(wait) if wait else None)
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
        return Answer(0, "", time.monotonic() - began, None)
