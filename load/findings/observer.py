"""What the coordinator says of itself under load: tasks that run and wait, agents and their steps, memory."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp

from load.driving.calls import build_headers

EVERY_SECONDS = 0.5
CALL_SECONDS = 5.0
_MEMORY = re.compile(r"^process_resident_memory_bytes (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    """One look. `agents` is the list of `/agents`."""

    at: float
    running: int
    queued: int
    agents: Sequence[Mapping[str, Any]]

    def count_healthy(self) -> dict[str, int]:
        """Counts the instances that take steps, by the agent's name."""
        found: dict[str, int] = {}
        for agent in self.agents:
            found[agent["name"]] = found.get(agent["name"], 0) + (agent["status"] == "healthy")
        return found


@dataclass(frozen=True)
class AgentSeen:
    """All instances of one agent together: `most` places, None without a limit; times of steps include waiting."""

    name: str
    instances: int
    peak_load: int
    most: int | None
    full_share: float
    steps: int
    failed: int
    step_seconds: float | None


@dataclass(frozen=True)
class Observed:
    """A step of the run as the coordinator saw it; shares are of the samples in which any task ran."""

    samples: int = 0
    peak_running: int = 0
    peak_queued: int = 0
    queued_share: float = 0.0
    agents: tuple[AgentSeen, ...] = ()


@dataclass
class Observer:
    """Looks at `/stats` and `/agents` twice a second while its block runs; a failed look is left out."""

    session: aiohttp.ClientSession
    url: str
    api_key: str | None = None
    every_seconds: float = EVERY_SECONDS
    samples: list[Sample] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._before = await self._fetch_steps()
        self._task = asyncio.create_task(self._look(), name="observer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        self._after = self._before if isinstance(exc, asyncio.CancelledError) else await self._fetch_steps()

    @property
    def seen(self) -> Observed:
        """What was seen, once the block has ended."""
        return sum_up_samples(self.samples, self._before, self._after)

    async def _look(self) -> None:
        while True:
            stats, agents = await fetch(self, "/stats"), await fetch(self, "/agents?limit=1000")
            if stats and agents:
                now, known = stats.get("now") or {}, agents.get("agents") or []
                sample = Sample(time.monotonic(), now.get("running", 0), now.get("queued", 0), known)
                self.samples.append(sample)
            await asyncio.sleep(self.every_seconds)

    async def _fetch_steps(self) -> Mapping[str, Any]:
        return (await fetch(self, "/stats") or {}).get("agents") or {}


def sum_up_samples(samples: Sequence[Sample], before: Mapping[str, Any], after: Mapping[str, Any]) -> Observed:
    """Sums up samples, with what `agents` of `/stats` said before and after them."""
    samples = [sample for sample in samples if sample.running] or samples
    if not samples:
        return Observed()
    names = sorted({agent["name"] for sample in samples for agent in sample.agents} | after.keys())
    return Observed(
        samples=len(samples),
        peak_running=max(sample.running for sample in samples),
        peak_queued=max(sample.queued for sample in samples),
        queued_share=sum(sample.queued > 0 for sample in samples) / len(samples),
        agents=tuple(_sum_up_agent(name, samples, before.get(name, {}), after.get(name, {})) for name in names),
    )


async def fetch(of: Observer, path: str) -> dict[str, Any] | None:
    """Fetches a JSON object from the coordinator; None when none came in time."""
    try:
        async with of.session.get(
            of.url + path, headers=build_headers(of.api_key), timeout=aiohttp.ClientTimeout(total=CALL_SECONDS)
        ) as answer:
            body = await answer.json()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
    return body if answer.status == 200 and isinstance(body, dict) else None


async def fetch_memory_bytes(of: Observer) -> float | None:
    """Fetches the coordinator's memory from `/metrics`; None where it is not told."""
    try:
        async with of.session.get(
            f"{of.url}/metrics", headers=build_headers(of.api_key), timeout=aiohttp.ClientTimeout(total=CALL_SECONDS)
        ) as answer:
            found = _MEMORY.search(await answer.text())
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
    return float(found[1]) if found else None


def _sum_up_agent(
    name: str, samples: Sequence[Sample], before: Mapping[str, Any], after: Mapping[str, Any]
) -> AgentSeen:
    loads, places, healthy = [], [], []
    for sample in samples:
        instances = [a for a in sample.agents if a["name"] == name and a["status"] == "healthy"]
        limits = [a.get("max_concurrency") for a in instances]
        loads.append(sum(a["load"] for a in instances))
        places.append(sum(limit for limit in limits if limit) if limits and all(limits) else None)
        healthy.append(len(instances))
    steps = after.get("steps", 0) - before.get("steps", 0)
    spent = _compute_seconds(after) - _compute_seconds(before)
    return AgentSeen(
        name=name,
        instances=max(healthy),
        peak_load=max(loads),
        most=max((most for most in places if most is not None), default=None),
        full_share=sum(m is not None and load >= m for load, m in zip(loads, places, strict=True)) / len(samples),
        steps=steps,
        failed=after.get("failed", 0) - before.get("failed", 0),
        step_seconds=max(0.0, spent / steps) if steps > 0 else None,
    )


def _compute_seconds(stats: Mapping[str, Any]) -> float:
    return float(stats.get("steps", 0) * stats.get("avg_seconds", 0.0))
