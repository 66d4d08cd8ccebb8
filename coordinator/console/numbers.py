"""The page of numbers: the last hour or day of tasks, their times, errors, waiting and tokens."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from fastapi import APIRouter, Request, Response

from coordinator.api.dependencies import OpenServices, Services
from coordinator.console.figures.charts import Chart, stack
from coordinator.console.figures.words import clock, count, duration
from coordinator.console.pages import View
from coordinator.console.showing import show
from coordinator.console.spent import SPENT, Spent
from coordinator.console.visitor import Reader
from coordinator.journal.lookups.ends import count_ends, find_percentile

router = APIRouter(prefix="/console/numbers", include_in_schema=False)
SPANS = {"hour": (60.0, 60), "day": (1_800.0, 48)}  # seconds of a stretch, and how many
GOOD, HALF, BAD = ("completed",), ("partial", "cancelled"), ("failed", "timed_out")


@router.get("")
async def get_numbers(
    request: Request, services: OpenServices, visitor: Reader, of: Literal["hour", "day"] = "hour"
) -> Response:
    """The last hour, or the last day."""
    spent: Spent = getattr(request.app.state, SPENT)
    return await show(request, services, visitor, lambda: _view(services, of, spent))


async def _view(services: Services, of: Literal["hour", "day"], spent: Spent) -> View:
    counted = await spent.count(services)
    width, stretches = SPANS[of]
    since = (services.wall() // width + 1 - stretches) * width
    ends = await count_ends(services.store, since=since, width=width, stretches=stretches)
    tokens = counted.sum_up(since=since, width=width, stretches=stretches)
    names = [clock(since + n * width) for n in range(stretches)]
    statuses, took, waited = Counter[str](), Counter[int](), Counter[int]()
    for one in ends:
        statuses, took, waited = statuses + one.statuses, took + one.took, waited + one.waited
    whole, bad = sum(statuses.values()), sum(statuses[s] for s in BAD)
    p50, p95 = find_percentile(took, 0.5), find_percentile(took, 0.95)
    counting = "" if spent.known else " so far: the journal is being counted"
    values = {
        "of": of,
        "whole": whole,
        "a_minute": whole / (width * stretches / 60),
        "bad": bad,
        "share": bad / whole if whole else 0.0,
        "p50": p50,
        "p95": p95,
        "running": services.admission.running,
        "queued": services.admission.queued,
        "tokens": sum(sum(pair) for pair in tokens),
        "charts": [
            stack(
                "Tasks that ended",
                [("good", "completed"), ("half", "partial or cancelled"), ("bad", "failed or timed out")],
                [[sum(one.statuses[s] for s in kind) for kind in (GOOD, HALF, BAD)] for one in ends],
                names=names,
                say=lambda figure: f"{figure:,.0f}",
                said=f"{count(whole, 'task')}, of which {bad:,} failed or timed out",
            ),
            _times("Time until the answer", [one.took for one in ends], names, took),
            _times("Time in the queue", [one.waited for one in ends], names, waited),
            stack(
                "Tokens of models",
                [("input", "read"), ("output", "written")],
                tokens,
                names=names,
                say=lambda figure: f"{figure:,.0f}",
                said=f"{sum(sum(pair) for pair in tokens):,} tokens" + counting,
            ),
        ],
        "first": names[0],
        "middle": names[stretches // 2],
    }
    return View("numbers.html", "Numbers", "numbers", values)


def _times(title: str, rows: list[Counter[int]], names: list[str], whole: Counter[int]) -> Chart:
    """Half of the tasks, and 95 of 100."""
    figures = []
    for row in rows:
        half, most = find_percentile(row, 0.5) or 0.0, find_percentile(row, 0.95) or 0.0
        figures.append([half, max(0.0, most - half)])
    within = [duration(find_percentile(whole, share)) for share in (0.5, 0.95)]
    said = f"half within {within[0]}, 95 of 100 within {within[1]}" if whole else "no task"
    kinds = [("half-of-them", "half of them"), ("most-of-them", "95 of 100")]
    return stack(title, kinds, figures, names=names, say=duration, said=said)
