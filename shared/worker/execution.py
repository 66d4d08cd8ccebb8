"""One execution of a step, as its callers watch it, and what the running step may use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import httpx
from pydantic import JsonValue

from shared import logs
from shared.agent import Member
from shared.contracts import Progress, StepResult
from shared.conversation import Ask
from shared.limits.envelope import Envelope
from shared.recording.tape import Tape
from shared.worker.heartbeat import Heartbeat


@dataclass(frozen=True)
class Opened:
    """What a worker has opened: the agent's state, HTTP out, and the heartbeat of one that has a coordinator."""

    state: Any
    http: httpx.AsyncClient
    heartbeat: Heartbeat | None = None

    @property
    def member(self) -> Member | None:
        """Who this worker is to its coordinator, once registered."""
        return self.heartbeat.member if self.heartbeat else None


class Run:
    """One execution of a step; all callers with the same key watch the same Run."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.watchers = 0
        self.task: asyncio.Task[StepResult] | None = None
        self.progress: Progress | None = None
        self.said: list[str] = []
        self.changed = asyncio.Event()

    def tell(self, progress: Progress) -> None:
        self.progress = progress
        self.changed.set()

    def say(self, text: str) -> None:
        self.said.append(text)
        self.changed.set()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    @property
    def ending(self) -> bool:
        """Whether it was cancelled; the agent may still be cleaning up."""
        return self.task is not None and self.task.cancelling() > 0


@runtime_checkable
class Recording(Tape, Protocol):
    """A tape that can be handed on with the answer."""

    def write(self, recipe: Mapping[str, Any] | None, attempt: int) -> str: ...


class StepContext:
    """What a running step may use; see `shared.agent.Context`."""

    def __init__(
        self,
        *,
        run: Run,
        envelope: Envelope,
        until: float,
        now: Callable[[], float],
        opened: Opened,
        ask: Ask | None,
        tape: Tape | None = None,
    ) -> None:
        self.state = opened.state
        self.http = opened.http
        self.envelope = envelope
        self.ask = ask
        self.member = opened.member
        self.log = logs.get()
        self._run = run
        self._until = until
        self._now = now
        self._tape = tape
        if tape is not None:
            from shared.recording.web import TapedClient

            self.http = TapedClient(opened.http, tape)

    def seconds_left(self) -> float:
        left = max(0.0, self._until - self._now())
        return left if self._tape is None else self._tape.read("clock", lambda: left)

    async def progress(
        self, message: str, fraction: float | None = None, *, report: dict[str, JsonValue] | None = None
    ) -> None:
        bounded = None if fraction is None else min(1.0, max(0.0, fraction))
        self._run.tell(Progress(message=message[:500], fraction=bounded, report=report))
        await asyncio.sleep(0)

    async def say(self, text: str) -> None:
        self._run.say(text)
        await asyncio.sleep(0)
