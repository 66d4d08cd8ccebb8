"""PURE: one registered process of an agent, as the coordinator knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.contracts import AgentStatus, Registration

BREAKER_SECONDS = (1.0, 3.0)  # first and longest pause before one trial call, give or take a fifth

SLOW_SECONDS = (10.0, 60.0)  # first and longest pause before a step tries an instance that is far slower than others

BreakerState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True)
class CanaryResult:
    """How a canary ended: when (Unix seconds), after how many seconds, and what went wrong, if anything."""

    at: float
    seconds: float
    error: str | None


@dataclass
class Instance:
    """One registered process: its lease, load, latency and breaker. Times are of the injected clock."""

    id: str
    registration: Registration
    registered_at: float
    wall_registered_at: float
    status: AgentStatus = AgentStatus.PENDING
    lease_until: float | None = None
    load: int = 0
    latency: float | None = None
    measured_at: float = 0.0
    failures: int = 0
    open_until: float | None = None
    opened_at: float | None = None
    trial: bool = False
    pause: float = BREAKER_SECONDS[0]
    last_error: str | None = None
    last_seen: float | None = None
    wall_last_seen: float | None = None
    reached: bool = False  # by a probe or a call, ever
    away_since: float | None = None  # unreachable since then
    held: bool = False  # drained by a person, until he lets it go or the coordinator restarts
    canary_at: float | None = None  # when the last canary was sent
    canary_wanted: bool = False  # before it is due
    last_canary: CanaryResult | None = None
    unanswered: int = 0  # canaries in a row
    deaf: bool = False  # out of rotation, because it answers no canary
    slow_seconds: float = 0.0  # what a call has taken that was far too long; 0: none lately
    slow_until: float = 0.0
    slow_pause: float = SLOW_SECONDS[0]
    slow_cleared: bool = False  # by a canary
    slow_trial: bool = False

    @property
    def name(self) -> str:
        return self.registration.name

    @property
    def takes_canaries(self) -> bool:
        return self.registration.canary and self.registration.protocol == "muster"

    def find_breaker_state(self, now: float) -> BreakerState:
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "half_open"
