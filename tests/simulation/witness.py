"""What is seen while a seed runs: steps that agents are called with and carry out, heartbeats, endless calls."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.world.network import Exchange, Network
from tests.simulation.world.process import Process, current
from tests.simulation.world.virtual_time import SerialTask

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 1.0  # I4: a caller is answered so long after the time that it gave
LEASE_SECONDS = 6.0
ZOMBIE_SECONDS = 2 * LEASE_SECONDS  # I5: a step runs so long without a lease at most
WRITTEN_SECONDS = 1.5  # from a decision to its event, on a slow disk
RESIDENT = {  # asyncio tasks of the coordinator that run as long as it does
    *("main:coordinator", "agent-probes", "agent-leases", "canaries", "history", "clock"),
    *("journal", "journal-check", "webhooks", "stop", "console"),
}
SLACK_SECONDS = 4.0  # between two heartbeats, two looks at the leases, and on the way


@dataclass(frozen=True)
class Sent:
    """A step on its way to an agent."""

    at: float
    task: str
    step: str
    attempt: int
    target: str


@dataclass
class Witness:
    """Sees every call that arrives, and what the agents do; `wrong` is what must not be, in words."""

    seconds: Callable[[], float]
    sent: list[Sent] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lies: set[tuple[str, str, int]] = field(default_factory=set)  # attempts that were answered with a lie
    hooked: set[str] = field(default_factory=set)  # tasks whose webhook arrived
    _beats: dict[str, float] = field(default_factory=dict)
    _all_beats: dict[str, deque[float]] = field(default_factory=dict)
    _done: Counter[tuple[str, int, str, str]] = field(default_factory=Counter)

    def see_call(self, source: str, target: str, call: str, headers: Any, body: bytes) -> None:
        """A call that has arrived."""
        if call == "POST /register_agent":
            self._beats[source] = self.seconds()
            self._all_beats.setdefault(source, deque(maxlen=8)).append(self.seconds())
        elif call == "POST /execute":
            task, _, step = headers.get(b"idempotency-key", b"").decode().partition("/")
            attempt = int(body.partition(b'"attempt":')[2].partition(b",")[0] or 0)
            self.sent.append(Sent(self.seconds(), task, step, attempt, target))

    def step_begins(self, task: str, step: str) -> None:
        """An agent begins a step; a process that has completed one replays its result instead."""
        process = current()
        if self._done[process.name, process.life, task, step]:
            self.wrong.append(f"I3: {process.name} ran step {step} of task {task} again after it had completed it")

    def step_done(self, task: str, step: str) -> None:
        process = current()
        self._done[process.name, process.life, task, step] += 1

    def see_event(self, data: dict[str, Any]) -> None:
        """`agent.status`: where an agent counts as silent, one of its name was not heard of for a lease.

        The event comes a moment after the decision, when it is durable.
        """
        heard = [beats for host, beats in self._all_beats.items() if host.partition("-")[0] == data["name"]]
        if not str(data.get("why")).startswith("silent for") or not heard:
            return
        now = self.seconds()
        if all(any(now - LEASE_SECONDS + 1.0 < at < now - WRITTEN_SECONDS for at in beats) for beats in heard):
            self.wrong.append(f"I5: {data['name']} counts as silent within a lease of its heartbeat")

    def see_answer(self, exchange: Exchange, status: int) -> None:
        """The coordinator answers, whether or not its caller hears of it."""
        if exchange.path == "/execute_task" and (limit := _find_limit(exchange)) is not None:
            late = self.seconds() - exchange.began - limit
            if late > ANSWER_SECONDS:
                self.wrong.append(f"I4: a caller who gave {limit} s was answered {late:.2f} s later, with {status}")

    async def watch(self, network: Network, up_since: Callable[[], float]) -> None:
        """Looks for calls to agents that have no lease any more, and for callers that have no answer in time."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for exchange in network.list_open("/execute"):
                target, client = exchange.server.name, exchange.client
                if target not in self._beats or client is None or not client.alive:
                    continue
                lease = max(self._beats[target], exchange.began, up_since()) + LEASE_SECONDS
                if self.seconds() > lease + ZOMBIE_SECONDS + SLACK_SECONDS:
                    self.wrong.append(f"I5: a step runs at {target} {self.seconds() - lease:.1f} s after its lease")
            for exchange in network.list_open("/execute_task"):
                limit = _find_limit(exchange)
                if limit is not None and self.seconds() > exchange.began + limit + ANSWER_SECONDS + 1.0:
                    self.wrong.append(f"I4: a caller who gave {limit} s still waits")


def _find_limit(exchange: Exchange) -> float | None:
    """The seconds that a caller has given who waits for a whole answer."""
    if b"prefer" in exchange.headers or b"event-stream" in exchange.headers.get(b"accept", b""):
        return None
    return float(json.loads(exchange.body).get("timeout_seconds", 30.0))


def list_passing(process: Process) -> set[asyncio.Task[Any]]:
    """The asyncio tasks of a process but for those that run as long as it does; a probe, a canary or a call is one."""
    tasks = asyncio.all_tasks()
    return {t for t in tasks if isinstance(t, SerialTask) and t.owner is process and t.get_name() not in RESIDENT}


def find_leaks(services: Any) -> list[str]:
    """I6: what a coordinator without open tasks still holds."""
    feed = services.waiter.feed
    held = {
        "open tasks": services.dispatcher.open_tasks,
        "running tasks": services.admission.running,
        "queued tasks": services.admission.queued,
        "load of agents": sum(i.load for i in services.agents.registry.list_all()),
        "readers of events": len(feed._waiting) + len(feed._reading),
        "calls to agents": sum(len(calls) for calls in services.agents._calls.values()),
    }
    return [f"I6: no task is open, and the coordinator still counts {n} {what}" for what, n in held.items() if n]
