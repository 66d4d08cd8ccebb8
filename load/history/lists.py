"""How long lists of tasks take, and what else is asked while others ask for lists."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from load.figures.figure import Figure
from load.findings.rows import compute_percentiles
from load.growth.subject import Subject, build_request

EACH = 100  # calls
LISTING = 4  # callers that do nothing but ask for lists
MOST_LIST_SECONDS = 0.05
FILTERS = {
    "newest": "",
    "a status that all have": "status=completed",
    "a status that none has": "status=failed",
    "an agent of all": "agent=researcher",
    "an agent of none": "agent=nobody",
    "agent and status, none": "agent=researcher&status=failed",
    "since now": "since=2100-01-01T00:00:00Z",
    "200 a page": "limit=200",
}


async def measure_lists(subject: Subject) -> list[Figure]:
    """Each filter's p99, and that of pages in the middle of the history."""
    found = []
    for name, query in {**FILTERS, "a page further down": f"cursor={quote(await _find_far_cursor(subject))}"}.items():
        seconds = await _time_calls(EACH, lambda query=query: subject.http.request("GET", f"/tasks?{query}"))  # type: ignore[misc]
        found.append(
            Figure(f"list, {name}: p99", 1000 * compute_percentiles(seconds)[2], "ms", target=1000 * MOST_LIST_SECONDS)
        )
    return found


async def measure_beside_lists(subject: Subject) -> list[Figure]:
    """GET of an ended task and an accepted one under a key: alone, and while callers ask for lists of 200."""
    id = (await subject.list_ended())[0]
    body = json.dumps(build_request()).encode()
    headers = {"Prefer": "respond-async"}
    numbers = iter(range(1_000_000))

    async def look() -> None:
        await subject.http.request("GET", f"/tasks/{id}")

    async def accept() -> None:
        await subject.http.request("POST", "/execute_task", body, headers | {"Idempotency-Key": f"k{next(numbers)}"})

    found = []
    for name, call in (("GET of an ended task", look), ("accepting under a key", accept)):
        alone = compute_percentiles(await _time_calls(EACH, call))[1]
        listing = [asyncio.create_task(_list(subject), name=f"lists-{n}") for n in range(LISTING)]
        beside = compute_percentiles(await _time_calls(EACH, call))[1]
        for task in listing:
            task.cancel()
        await asyncio.gather(*listing, return_exceptions=True)
        found.append(Figure(f"{name}: p95 alone", 1000 * alone, "ms"))
        found.append(Figure(f"{name}: p95 beside {LISTING} that list", 1000 * beside, "ms"))
    return found


async def _list(subject: Subject) -> None:
    while True:
        await subject.http.request("GET", "/tasks?agent=researcher&limit=200")
        await asyncio.sleep(0)


async def _find_far_cursor(subject: Subject) -> str:
    """The cursor of a page that lies ten pages of 200 down."""
    cursor = ""
    for _ in range(10):
        _, said = await subject.http.request("GET", f"/tasks?limit=200{cursor and '&cursor=' + quote(cursor)}")
        cursor = json.loads(said).get("next_cursor") or cursor
    return cursor


async def _time_calls(count: int, call: Callable[[], Awaitable[object]]) -> list[float]:
    seconds = []
    for _ in range(count):
        began = time.monotonic()
        await call()
        seconds.append(time.monotonic() - began)
    return seconds
