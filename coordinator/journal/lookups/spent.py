"""What steps of ended and open tasks have spent on models, and when."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from coordinator.journal.packed import unpack
from coordinator.journal.store import Store
from shared.contracts import Usage

AT_ONCE = 500  # tasks
_NOTHING = '"input_tokens":0,"output_tokens":0'
_ENDED = """
SELECT task_id, finished_at, body FROM history
WHERE (finished_at, task_id) > (:at, :id) AND created_at < :until AND body IS NOT NULL
ORDER BY finished_at, task_id LIMIT :limit
"""
PORTIONS = "SELECT :since"  # of the time in which tasks ended, each from when
ROWS = f"""
SELECT CAST(finished_at / 60 AS INTEGER) * 60, sum(json_extract(usage, '$.input_tokens')),
       sum(json_extract(usage, '$.output_tokens'))
FROM steps WHERE finished_at >= :since AND finished_at < :until AND :first < :last AND usage NOT LIKE '%{_NOTHING}%'
GROUP BY 1
"""  # by the minute; of open and of large tasks: the steps of others are packed into their task's row


class Spending(NamedTuple):
    """Tokens of steps that ended at `at` (Unix seconds), or in the minute since then."""

    at: float
    read: int
    written: int


async def read_spent(store: Store, *, since: float, until: float) -> AsyncIterator[list[Spending]]:
    """The steps that ended between the two and had a model, in no order, some at a time."""
    starts = [start for (start,) in await store.read(PORTIONS, {"since": since}, aside=True)]
    for first, last in pairwise([*starts, math.inf]):
        span = {"since": since, "until": until, "first": first, "last": last}
        yield [Spending(*row) for row in await store.read(ROWS, span, aside=True)]
    at, id = since, ""
    while tasks := await store.read(_ENDED, {"at": at, "id": id, "until": until, "limit": AT_ONCE}, aside=True):
        yield [one for one in await asyncio.to_thread(list, _unpack(tasks)) if since <= one.at < until]
        id, at, _ = tasks[-1]


def _unpack(tasks: list[Any]) -> Iterator[Spending]:
    for id, _, body in tasks:
        try:
            steps = unpack(id, body).steps
        except (zlib.error, ValueError):
            continue  # a damaged task is told of where it is opened
        for step in steps:
            finished_at, usage = step[8], step[10]
            if finished_at is not None and usage and _NOTHING not in usage:
                yield _read(finished_at, usage)


def _read(at: float, usage: str) -> Spending:
    spent = Usage.model_validate_json(usage)
    return Spending(at, spent.input_tokens, spent.output_tokens)
