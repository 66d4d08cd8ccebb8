"""A flight: where one task's exchanges with agents, clocks and chance pass by, to be recorded or played."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Protocol

from coordinator.agent_calls.attempt import Attempt, StepAnswer
from coordinator.agents.instance import Instance
from coordinator.tasks.task import Step, Task
from shared.recording.tape import TAPE, Tape


class Wish(Protocol):
    """What a delegation is for, as `coordinator.execution.delegations.Wish` says it."""

    agent: str
    task: str
    milliseconds: int | None
    calls: int | None
    tokens: int | None


class Flight(Tape, Protocol):
    """A task's own tape. Two exist: the recorder, and the one that a replay plays."""

    def note(self, kind: str, **facts: Any) -> None:
        """Something came from outside: a cancellation, a start that takes the task up."""
        ...

    async def take(self, step: Step, take: Callable[[], Awaitable[Instance]]) -> Instance:
        """The instance for the next attempt of a step; raises as `take` does."""
        ...

    async def call(self, attempt: Attempt, execute: Callable[[Attempt], Awaitable[StepAnswer]]) -> StepAnswer:
        """The attempt's answer; raises a `StepFailure`."""
        ...

    async def ask(self, parent: str, wish: Wish, make: Callable[[], str]) -> str:
        """The id of a delegation that arrives now for a step."""
        ...

    def hedge(self, attempt: Attempt, seconds: float | None) -> float | None:
        """After how many seconds the call would be late; None: never."""
        ...

    def put_back(self) -> None:
        """The write that was to keep what has come has written nothing."""
        ...

    def second(self, attempt: Attempt, choose: Callable[[], Instance | None]) -> Instance | None:
        """The instance of a second call; None where there is none."""
        ...


class Flights(Protocol):
    """The flights of the open tasks."""

    def begin(self, task: Task, clock: Callable[[], float], *, taken_up: bool) -> Flight:
        """A task is carried from now on; `clock` tells the seconds since it was created."""
        ...

    def end(self, task_id: str) -> None: ...


FLIGHT: ContextVar[Flight | None] = ContextVar("flight", default=None)


def board(flight: Flight | None) -> None:
    """What runs in this context from now on belongs to the flight."""
    if flight is not None:
        FLIGHT.set(flight)
        TAPE.set(flight)
