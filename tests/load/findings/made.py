"""Rows and agents as the tests of findings need them."""

from __future__ import annotations

from typing import Any

from load.findings.observer import AgentSeen, Sample
from load.findings.rows import BenchRow


def at(concurrency: int, *, rate: float, p95: float, success: float = 100.0, **more: Any) -> BenchRow:
    """A step of the search: 1,000 tasks."""
    return BenchRow(
        label=str(concurrency),
        x=concurrency,
        seconds=10,
        tasks=1_000,
        completed=round(10 * success),
        per_second=rate,
        carried_per_second=rate,
        average=p95 / 2,
        p95=p95,
        **more,
    )


def agent(name: str = "analyzer", *, full: float = 0.0, seconds: float = 0.1) -> AgentSeen:
    return AgentSeen(name, 1, 8, 8, full, 100, 0, seconds)


def look(when: float, *statuses: str, running: int = 1, queued: int = 0, load: int = 0) -> Sample:
    agents = [{"name": "worker", "status": status, "load": load, "max_concurrency": 2} for status in statuses]
    return Sample(when, running, queued, agents)
