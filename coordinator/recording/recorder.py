"""Writes flights down: what the journal's events do not say, with the task's own writes, and within bounds."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic_core import to_json

from coordinator.agent_calls.attempt import Attempt, StepAnswer
from coordinator.agents.instance import Instance
from coordinator.journal import sql
from coordinator.recording.flight import Wish
from coordinator.tasks.task import Step, Task
from shared.contracts import StepRequest
from shared.db.database import Statement
from shared.errors import StepFailure
from shared.recording.failures import write_failure
from shared.recording.recorder import Recorder
from shared.version import VERSION

MOST_RECORDING = 3_000_000  # characters of what one agent sends along
MOST_TASK = 10_000_000  # bytes of a task's recording; what comes after is only counted
T = TypeVar("T")


class RecordedFlight:
    """One task's recorder; `clock` tells the seconds since the task was created, `position` the last event's."""

    def __init__(self, clock: Callable[[], float], position: Callable[[], int]) -> None:
        self._clock = clock
        self._position = position
        self._entries: list[dict[str, Any]] = []
        self._tape = Recorder(now=clock)
        self._kept = 0
        self._asked = 0
        self._written: list[dict[str, Any]] = []

    def note(self, kind: str, **facts: Any) -> None:
        self._entries.append({"kind": kind, "at": self._read_clock(), "after": self._read_place(), **facts})

    async def take(self, step: Step, take: Callable[[], Awaitable[Instance]]) -> Instance:
        try:
            instance = await take()
        except StepFailure as failure:
            self.note("untaken", step=step.id, attempt=step.attempt + 1, failure=write_failure(failure))
            raise
        return instance  # the event of the attempt's start tells of it

    async def call(self, attempt: Attempt, execute: Callable[[Attempt], Awaitable[StepAnswer]]) -> StepAnswer:
        request = attempt.request
        entry: dict[str, Any] = {
            "step": request.step_id,
            "attempt": request.attempt,
            "instance": attempt.instance.id,
            "from": self._read_clock(),
            "crc": compute_crc(request),
        }
        if attempt.envelope.depth:
            entry |= {"depth": attempt.envelope.depth, "began": self._read_place()}
        recording = None
        try:
            answer = await execute(attempt)
            recording, answer.result.recording = answer.result.recording, None
            entry["answer"] = answer.result.model_dump(exclude_defaults=True, exclude={"output", "recording", "calls"})
            if attempt.envelope.depth:  # of a delegation the journal keeps none
                entry["output"] = answer.result.output
            return answer
        except StepFailure as failure:
            recording, entry["failure"] = failure.recording, write_failure(failure)
            raise
        finally:
            if recording is not None and len(recording) <= MOST_RECORDING:
                entry["recording"] = recording
            self.note("call", **entry)

    async def ask(self, parent: str, wish: Wish, make: Callable[[], str]) -> str:
        child = make()
        limits = {name: getattr(wish, name) for name in ("milliseconds", "calls", "tokens")}
        self.note("ask", parent=parent, child=child, agent=wish.agent, task=wish.task, limits=limits)
        return child

    def hedge(self, attempt: Attempt, seconds: float | None) -> float | None:
        return seconds

    def second(self, attempt: Attempt, choose: Callable[[], Instance | None]) -> Instance | None:
        return choose()  # an event tells of it

    async def exchange(self, kind: str, asked: Any, do: Callable[[], Awaitable[Any]]) -> Any:
        return await self._tape.exchange(kind, asked, do)

    def read(self, kind: str, look: Callable[[], T]) -> T:
        return self._tape.read(kind, look)

    def drain(self) -> bytes | None:
        """What has come since the last time, to be written with the task's next write; None where nothing has."""
        for exchanged in self._tape.entries:
            self.note("exchange", exchange=exchanged)
        self._tape.entries.clear()
        if self._tape.reads:
            self.note("reads", reads=dict(self._tape.reads))
            self._tape.reads.clear()
        if not self._entries:
            return None
        self._written, self._entries = self._entries, []
        body = to_json(self._written, fallback=str)
        self._kept += len(body)
        return body if self._kept <= MOST_TASK else to_json([{"kind": "full", "lost": len(body)}])

    def put_back(self) -> None:
        """What was drained last was not written."""
        self._entries[:0] = self._written

    def _read_place(self) -> tuple[int, int]:
        """In the order of all that happens: after which event, and how many have asked for theirs before."""
        self._asked += 1
        return self._position(), self._asked

    def _read_clock(self) -> float:
        return round(self._clock(), 6)


def compute_crc(request: StepRequest) -> int:
    """A checksum of what an agent is asked, the context aside, which a task never changes."""
    return zlib.crc32(to_json({name: value for name, value in request.__dict__.items() if name != "context"}))


class Recorders:
    """The recorders of the open tasks."""

    def __init__(self, position: Callable[[], int]) -> None:
        self._position = position
        self._flights: dict[str, RecordedFlight] = {}

    def begin(self, task: Task, clock: Callable[[], float], *, taken_up: bool) -> RecordedFlight:
        """A task is carried from now on; `taken_up` from the journal, by this start of the coordinator."""
        flight = self._flights[task.id] = RecordedFlight(clock, self._position)
        flight.note("restart" if taken_up else "begin", version=VERSION)
        return flight

    def end(self, task_id: str) -> None:
        self._flights.pop(task_id, None)

    def drain(self, task_id: str) -> tuple[Statement, ...]:
        """What the task's next write has to write besides."""
        flight = self._flights.get(task_id)
        body = flight.drain() if flight is not None else None
        if body is None:
            return ()
        row = {"task_id": task_id, "size": len(body), "body": body.decode()}
        return (Statement(sql.ADD_RECORDING, row, late=1),)
