"""A task that has not ended, as this process carries it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from coordinator.admission.seat import Seat
from coordinator.admission.turns import Turn
from coordinator.execution.delegation_grant import Grant
from coordinator.execution.step_runner import EndedStep
from coordinator.recording.flight import Flight
from coordinator.tasks.frontier import Frontier
from coordinator.tasks.task import Task
from shared.contracts import NO_USAGE, Status
from shared.copying import changed
from shared.limits.ledger import Ledger


@dataclass
class Live:
    """A task with its limits, and the state of its steps."""

    task: Task
    until: float  # monotonic: the deadline
    ledger: Ledger
    frontier: Frontier
    turn: Turn
    seat: Seat
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    grants: dict[str, Grant] = field(default_factory=dict)  # by step id, of running steps
    sent_before: set[str] = field(default_factory=set)  # ids of steps that only a previous process has sent
    unwritten: dict[str, EndedStep] = field(default_factory=dict)  # by step id: ended, not yet durable
    begun: bool = False
    cancelled: bool = False
    ending: bool = False
    carrier: asyncio.Task[None] | None = None
    weight: int = 0  # as admission counts it
    flight: Flight | None = None  # where what it exchanges is recorded, or played

    def read_clock(self, now: float) -> float:
        """The task's own time at a monotonic one (Unix seconds): no jump of the wall clock is in it."""
        return self.task.deadline - (self.until - now)


def make_live(task: Task, turn: Turn, seat: Seat, *, until: float) -> Live:
    """A task that this process takes up: new, or from the journal; its running steps are queued again."""
    sent = {s.id for s in task.steps if s.status is Status.RUNNING}
    if sent:
        open_steps = (changed(s, status=Status.QUEUED) if s.status is Status.RUNNING else s for s in task.steps)
        task = changed(task, steps=tuple(open_steps))
    spent = sum((s.spent for s in task.own_steps), NO_USAGE)
    ledger = Ledger(
        max_calls=task.max_calls, max_tokens=task.max_tokens, spent_calls=spent.calls, spent_tokens=spent.tokens
    )
    return Live(task, until, ledger, Frontier(task.steps), turn, seat, sent_before=sent)
