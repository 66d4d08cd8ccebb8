"""The figures of `/stats` and `/metrics`, counted from the events as they become durable."""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict, deque
from functools import lru_cache
from typing import Any

from prometheus_client import Counter, Gauge

from coordinator.journal.events import TaskEvent
from coordinator.observers.labels import NO_AGENT, OFTEN, STEP_ENDS, TASK_ENDS, error_class
from shared.errors import NoAgent
from shared.server.durations import Durations
from shared.server.metrics import Names, ServiceMetrics

WEBHOOK_OUTCOMES = ("delivered", "failed", "given_up")
KEPT = 1_000  # durations that the percentiles are taken over
_BAD = ("failed", "timed_out")


class Stats:
    """A reader of events; counts since the start of this process."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        registry = metrics.registry
        self._name = Names()
        self._tasks = Counter("muster_tasks_total", "Finished tasks.", ["status"], registry=registry)
        task_seconds = Durations("muster_task_seconds", "Seconds from acceptance to end.", registry=registry)
        self._steps = Counter("muster_steps_total", "Finished steps.", ["agent", "status"], registry=registry)
        step_seconds = Durations("muster_step_seconds", "Seconds a step took.", ["agent"], registry=registry)
        self._errors = Counter(
            "muster_step_errors_total", "Failed attempts at steps.", ["agent", "error"], registry=registry
        )
        self._webhooks = Counter(
            "muster_webhook_attempts_total", "Attempts at sending webhooks.", ["outcome"], registry=registry
        )
        self._retries = Counter("muster_step_retries_total", "Retried attempts.", registry=registry)
        self._late = Counter("muster_late_results_total", "Late or duplicate results.", registry=registry)
        self.gauges = {
            name: Gauge(f"muster_{name}", text, registry=registry)
            for name, text in (("tasks_running", "Running tasks."), ("tasks_queued", "Queued tasks."))
        }
        self._counted = lru_cache(4_000)(lambda agent, status: self._steps.labels(self._name(agent), status))
        self._timed = lru_cache(1_000)(lambda agent: step_seconds.labels(self._name(agent)))
        self._task_took = task_seconds.labels().observe
        self._finished = lru_cache(16)(self._tasks.labels)
        for status in TASK_ENDS:
            self._finished(status)
        for outcome in WEBHOOK_OUTCOMES:
            self._webhooks.labels(outcome)
        self.expect(NO_AGENT)
        self._durations: deque[float] = deque(maxlen=KEPT)
        self._ended: Tally[str] = Tally()
        self._seconds = 0.0
        self._agents: dict[str, Tally[str]] = {}
        self._agent_seconds: dict[str, float] = defaultdict(float)
        self._last_error: dict[str, Any] | None = None

    def record(self, event: TaskEvent) -> None:
        """Counts one event."""
        if event.type == "task.finished":
            data = event.fields
            self._ended[data["status"]] += 1
            self._seconds += data["seconds"]
            self._durations.append(data["seconds"])
            self._finished(data["status"]).inc()
            self._task_took(data["seconds"])
        elif event.type in ("step.finished", "step.failed"):
            self._count_step(event.task_id, event.fields)
        elif event.type == "step.retried":
            self._retries.inc()
            self._count_error(event.fields.get("agent") or NO_AGENT, event.fields["error"])
        elif event.type in ("webhook.sent", "webhook.failed"):
            failed = "failed" if event.fields["again"] else "given_up"
            self._webhooks.labels("delivered" if event.fields["delivered"] else failed).inc()
        elif event.type == "step.late":
            self._late.inc()

    def expect(self, agent: str) -> None:
        """Shows the agent with zeros, before it has done anything: a rate needs one to rise from."""
        for status in STEP_ENDS:
            self._counted(agent, status)
        for error in OFTEN if agent != NO_AGENT else (NoAgent.type,):
            self._errors.labels(self._name(agent), error)

    def summarize(self) -> dict[str, Any]:
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
            "percentiles_seconds": {name: _compute_percentile(self._durations, p) for name, p in _PERCENTILES.items()},
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
        agent = data.get("agent") or NO_AGENT
        self._agents.setdefault(agent, Tally())[data["status"]] += 1
        self._agent_seconds[agent] += data["seconds"]
        self._counted(agent, data["status"]).inc()
        self._timed(agent).observe(data["seconds"])
        if data["status"] in _BAD:
            named = {"task_id": task_id, "step_id": data["step_id"], "agent": data.get("agent")}
            self._count_error(agent, data["error"])
            self._last_error = {**named, "type": data["error"], "detail": data["why"]}

    def _count_error(self, agent: str, type: str) -> None:
        self._errors.labels(self._name(agent), error_class(type)).inc()


_PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def _compute_percentile(values: deque[float], share: float) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4)
