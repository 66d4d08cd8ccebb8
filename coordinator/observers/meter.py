"""What is counted where it happens, because no event tells it: waits, first bytes, and what models were asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

from prometheus_client import Counter

from coordinator.observers.minutes import Minutes
from shared.contracts import Usage
from shared.server.durations import Durations
from shared.server.metrics import Names, ServiceMetrics

DIRECTIONS = ("input", "output")
CANARIES = ("answered", "unanswered")


class Meter:
    """Told by those who carry tasks and steps."""

    def __init__(self, metrics: ServiceMetrics, *, wall: Callable[[], float] = time.time) -> None:
        self.tokens = Minutes(wall)  # that models read, and wrote
        registry, self._name = metrics.registry, Names()

        def timed(what: str, text: str, *labels: str) -> Durations:
            return Durations(f"muster_{what}_seconds", text, labels, registry=registry)

        queued = timed("task_queue", "Seconds a task waited for a place among the running ones.")
        waited = timed("step_wait", "Seconds an attempt at a step waited for an agent.", "agent")
        first_byte = timed("step_first_byte", "Seconds from sending a step to its answer's first byte.", "agent")
        self.task_waited = queued.labels().observe
        self._calls = Counter(
            "muster_model_calls_total", "Calls of models that agents told of.", ["agent"], registry=registry
        )
        self._tokens = Counter(
            "muster_model_tokens_total", "Tokens that agents told of.", ["agent", "direction"], registry=registry
        )
        self._backups = Counter(
            "muster_backups_total", "Timed backups by how they went.", ["outcome"], registry=registry
        )
        self._hedges = Counter(
            "muster_hedges_total",
            "Second calls of steps, and which of the two answered first.",
            ["agent", "outcome"],
            registry=registry,
        )
        for outcome in ("ok", "failed"):
            self._backups.labels(outcome)
        self._canaries = Counter(
            "muster_canaries_total", "Canaries by how they went.", ["agent", "outcome"], registry=registry
        )
        self._waited_for = lru_cache(1_000)(lambda agent: waited.labels(self._name(agent)))
        self._first_byte_of = lru_cache(1_000)(lambda agent: first_byte.labels(self._name(agent)))

    def expect(self, agent: str) -> None:
        """Shows the agent with zeros, before it has done anything."""
        name = self._name(agent)
        self._calls.labels(name)
        for direction in DIRECTIONS:
            self._tokens.labels(name, direction)
        for outcome in CANARIES:
            self._canaries.labels(name, outcome)
        for outcome in ("won", "lost"):
            self._hedges.labels(name, outcome)

    def step_waited(self, agent: str, seconds: float) -> None:
        """An attempt has an agent."""
        self._waited_for(agent).observe(seconds)

    def answered(self, agent: str, first_byte_seconds: float) -> None:
        """An agent has answered an attempt."""
        self._first_byte_of(agent).observe(first_byte_seconds)

    def canary_ended(self, agent: str, outcome: str) -> None:
        """An agent got a canary: "answered", or "unanswered"."""
        self._canaries.labels(self._name(agent), outcome).inc()

    def hedged(self, agent: str, outcome: str) -> None:
        """A step had a second call, which "won", or "lost"."""
        self._hedges.labels(self._name(agent), outcome).inc()

    def backed_up(self, outcome: str) -> None:
        """A timed backup was made: "ok", or "failed"."""
        self._backups.labels(outcome).inc()

    def spent(self, agent: str, usage: Usage) -> None:
        """What an agent says that it has spent, also in vain."""
        if not (usage.calls or usage.input_tokens or usage.output_tokens):
            return
        self.tokens.add(usage.input_tokens, usage.output_tokens)
        name = self._name(agent)
        self._calls.labels(name).inc(usage.calls)
        self._tokens.labels(name, "input").inc(usage.input_tokens)
        self._tokens.labels(name, "output").inc(usage.output_tokens)
