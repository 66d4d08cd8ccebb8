"""The figures of `/stats` and `/metrics`, counted from the events as they become durable."""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict, deque
from functools import lru_cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from coordinator.journal.events import TaskEvent
from shared.server.metrics import BUCKETS, ServiceMetrics

KEPT = 1_000  # durations that the percentiles are taken over
_BAD = ("failed", "timed_out")


class Stats:
    """A reader of events; counts since the start of this process."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        registry = metrics.registry
        self._tasks = Counter("muster_tasks_total", "Finished tasks.", ["status"], registry=registry)
        self._task_seconds = Histogram(
            "muster_task_seconds", "Seconds from acceptance to end.", registry=registry, buckets=BUCKETS
        )
        self._steps = Counter("muster_steps_total", "Finished steps.", ["agent", "status"], registry=registry)
        self._step_seconds = Histogram(
            "muster_step_seconds", "Seconds a step took.", ["agent"], registry=registry, buckets=BUCKETS
        )
        self._retries = Counter("muster_step_retries_total", "Retried attempts.", registry=registry)
        self._late = Counter("muster_late_results_total", "Late or duplicate results.", registry=registry)
        self.gauges = {
            name: Gauge(f"muster_{name}", text, registry=registry)
            for name, text in (("tasks_running", "Running tasks."), ("tasks_queued", "Queued tasks."))
        }
        self._counted, self._timed = lru_cache(4_000)(self._steps.labels), lru_cache(1_000)(self._step_seconds.labels)
        self._finished = lru_cache(16)(self._tasks.labels)
        self._durations: deque[float] = deque(maxlen=KEPT)
        self._ended: Tally[str] = Tally()
        self._seconds = 0.0
        self._agents: dict[str, Tally[str]] = {}
        self._agent_seconds: dict[str, float] = defaultdict(float)
        self._last_error: dict[str, Any] | None = None

    def read(self, event: TaskEvent) -> None:
        """Counts one event."""
        if event.type == "task.finished":
            data = event.fields
            self._ended[data["status"]] += 1
            self._seconds += data["seconds"]
            self._durations.append(data["seconds"])
            self._finished(data["status"]).inc()
            self._task_seconds.observe(data["seconds"])
        elif event.type in ("step.finished", "step.failed"):
            self._count_step(event.task_id, event.fields)
        elif event.type == "step.retried":
            self._retries.inc()
        elif event.type == "step.late":
            self._late.inc()

    def summary(self) -> dict[str, Any]:
        """The body of `/stats` without what only the coordinator knows."""
        total = sum(self._ended.values())
        bad = sum(self._ended[status] for status in _BAD)
        return {
            "total_requests": total,
            "error_count": bad,
            "error_rate": f"{100 * bad / total if total else 0:.2f}%",
            "avg_response_time": f"{self._seconds / total if total else 0:.2f}s",
            "last_error": self._last_error,
            "tasks": dict(self._ended),
            "percentiles_seconds": {name: _percentile(self._durations, p) for name, p in _PERCENTILES.items()},
            "agents": {
                name: {
                    "steps": sum(tally.values()),
                    "failed": sum(tally.values()) - tally["completed"],
                    "avg_seconds": round(self._agent_seconds[name] / max(1, sum(tally.values())), 4),
                }
                for name, tally in sorted(self._agents.items())
            },
        }

    def _count_step(self, task_id: str | None, data: dict[str, Any]) -> None:
        agent = data.get("agent") or "(none)"
        self._agents.setdefault(agent, Tally())[data["status"]] += 1
        self._agent_seconds[agent] += data["seconds"]
        self._counted(agent, data["status"]).inc()
        self._timed(agent).observe(data["seconds"])
        if data["status"] in _BAD:
            named = {"task_id": task_id, "step_id": data["step_id"], "agent": data.get("agent")}
            self._last_error = {**named, "type": data["error"], "detail": data["why"]}


_PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def _percentile(values: deque[float], share: float) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4)
