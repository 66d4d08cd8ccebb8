"""Figures of `/metrics` that are looked up at each scrape: agents, the journal and its disk, backups, what is due."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coordinator.agents.instance import Instance
from coordinator.agents.registry import LEASE_SECONDS, Registry
from coordinator.journal.lookups.outbox import count_overdue
from coordinator.journal.pruning import DAY_SECONDS
from coordinator.journal.store import Store
from coordinator.journal.upkeep.backups import Backups
from coordinator.observers.meter import Meter
from coordinator.observers.stats import Stats
from shared.contracts import AgentStatus
from shared.errors import MusterError
from shared.server.metrics import ServiceMetrics

BREAKERS = ("closed", "open", "half_open")
LOOK_SECONDS = 2.0  # for the journal's answer to a scrape; without one the last figures stay


class Gauges(Collector):
    """Looks in the event loop, and hands what it saw to the thread that writes the answer."""

    def __init__(
        self,
        *,
        registry: Registry,
        store: Store,
        stats: Stats,
        meter: Meter,
        backups: Backups,
        journal: Path | None,
        history_days: float,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._store = store
        self._stats = stats
        self._meter = meter
        self._backups = backups
        self._journal = journal
        self._history_days = history_days
        self._now = now
        self._wall = wall
        self._overdue = (0, 0)
        self._seen: list[Metric] = []

    def add_to(self, metrics: ServiceMetrics) -> None:
        """Has them looked up at every scrape from now on."""
        metrics.registry.register(self)
        metrics.looks.append(self.look)

    async def look(self) -> None:
        """Looks everything up for one scrape."""
        with suppress(TimeoutError, MusterError):  # a journal that hangs is no reason to show nothing
            async with asyncio.timeout(LOOK_SECONDS):
                before = self._wall() - self._history_days * DAY_SECONDS
                self._overdue = await count_overdue(self._store, ended_before=before, now=self._wall())
        self._seen = [
            *self._make_agent_metrics(self._registry.list_all()),
            *self._make_file_metrics(),
            *self._make_backlog_metrics(),
        ]

    def collect(self) -> Iterator[Metric]:
        """What was seen last."""
        yield from self._seen

    def _make_agent_metrics(self, instances: list[Instance]) -> Iterator[Metric]:
        now, ages = self._now(), defaultdict[str, float](float)
        statuses: Tally[tuple[str, AgentStatus]] = Tally()
        breakers: Tally[tuple[str, str]] = Tally()
        for one in instances:
            statuses[one.name, one.status] += 1
            breakers[one.name, one.find_breaker_state(now)] += 1
            ages[one.name] = max(ages[one.name], measure_silence(one, now))
        agents = GaugeMetricFamily("muster_agents", "Registered instances.", labels=["agent", "status"])
        states = GaugeMetricFamily("muster_agent_breakers", "Circuit breakers.", labels=["agent", "state"])
        heard = GaugeMetricFamily(
            "muster_agent_heartbeat_age_seconds", "Seconds since its quietest instance was heard.", labels=["agent"]
        )
        for name, age in sorted(ages.items()):
            self._stats.expect(name)
            self._meter.expect(name)
            for status in AgentStatus:
                agents.add_metric([name, status], statuses[name, status])
            for state in BREAKERS:
                states.add_metric([name, state], breakers[name, state])
            heard.add_metric([name], age)
        yield from (agents, states, heard)

    def _make_file_metrics(self) -> Iterator[Metric]:
        size = GaugeMetricFamily("muster_journal_bytes", "Bytes of the journal's files.", labels=["file"])
        for label, ending in (("database", ""), ("log", "-wal")):
            size.add_metric([label], _count_bytes(Path(f"{self._journal}{ending}")) if self._journal else 0)
        yield size
        free, total = math.nan, math.nan  # without a file there is no disk
        with suppress(OSError):
            if self._journal:
                total, _, free = shutil.disk_usage(self._journal.parent)
        yield GaugeMetricFamily("muster_disk_free_bytes", "Free bytes of the journal's disk.", value=free)
        yield GaugeMetricFamily("muster_disk_bytes", "Bytes of the journal's disk.", value=total)

    def _make_backlog_metrics(self) -> Iterator[Metric]:
        tasks, webhooks = self._overdue
        yield GaugeMetricFamily("muster_prune_backlog", "Ended tasks older than HISTORY_DAYS.", value=tasks)
        yield GaugeMetricFamily(
            "muster_backup_age_seconds", "Seconds since the newest timed backup.", value=self._backups.age()
        )
        yield GaugeMetricFamily("muster_backup_every_seconds", "BACKUP_EVERY.", value=self._backups.every or 0)
        yield GaugeMetricFamily("muster_webhooks_due", "Webhooks that wait to be sent now.", value=webhooks)


def measure_silence(instance: Instance, now: float) -> float:
    """Seconds since the last heartbeat; of an agent that sends none, since the last probe that was answered."""
    if instance.lease_until is not None:
        return max(0.0, now - instance.lease_until + LEASE_SECONDS)
    return max(0.0, now - (instance.last_seen if instance.last_seen is not None else instance.registered_at))


def _count_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
