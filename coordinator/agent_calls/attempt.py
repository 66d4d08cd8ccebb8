"""PURE: one attempt at a step: what is sent to which agent, and what came back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coordinator.agents.instance import Instance
from shared.contracts import Progress, StepRequest, StepResult
from shared.limits.envelope import Envelope


@dataclass(frozen=True)
class Attempt:
    """A step as it is sent to one instance, with the seconds it has; `context` is the request's as JSON, if known.

    `resumed` says that the next start takes up the call, so that a shutdown leaves the agent at work. `make_room` gets
    the size of an answer in bytes before it is parsed, and raises `OutputTooLarge` where it does not fit. `record` asks
    the agent to send along what it exchanges with others.
    """

    instance: Instance
    request: StepRequest
    envelope: Envelope
    seconds: float
    on_progress: Callable[[Progress], None]
    traceparent: str | None = None
    context: bytes | None = None
    resumed: bool = False
    make_room: Callable[[int], None] = lambda _: None
    record: bool = False


@dataclass(frozen=True)
class StepAnswer:
    """A completed step, and when its first byte came (monotonic)."""

    result: StepResult
    first_byte_at: float
