"""The coordinator's answers that are no contract between services, as the OpenAPI document describes them."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue

from shared.contracts import AgentView, Missing, Status, Usage
from shared.server.openapi import Described


class AuditEntry(Described):
    id: int
    type: str
    at: datetime


class AuditPage(Described):
    entries: list[AuditEntry]


class AgentPage(Described):
    agents: list[AgentView]
    next_cursor: str | None


class AgentInstances(Described):
    name: str
    instances: list[AgentView]


class TriedAddress(Described):
    endpoint: str
    why: str | None


class ReachedAgent(Described):
    endpoint: str | None
    tried: list[TriedAddress]


class RemovedAgent(Described):
    agent_id: str
    status: str


class TaskLine(Described):
    task_id: str
    status: Status
    task_description: str
    priority: int
    created_at: datetime
    finished_at: datetime | None
    duration_seconds: float | None


class TaskPage(Described):
    tasks: list[TaskLine]
    next_cursor: str | None


class WhyCause(Described):
    kind: str
    step_id: str | None
    agent: str | None
    seconds: float
    why: str
    advice: str


class WhyStep(Described):
    step_id: str
    agent: str | None
    seconds: float
    waiting_seconds: float
    lost_seconds: float
    working_seconds: float


class Why(Described):
    task_id: str
    status: Status
    seconds: float
    causes: list[WhyCause]
    critical_path: list[WhyStep]
    queued_seconds: float
    waiting_seconds: float
    lost_seconds: float
    working_seconds: float
    retried_calls: int
    delegated_calls: int
    usage: Usage
    lines: list[str]


class Recording(Described):
    format: int
    version: str
    task: dict[str, JsonValue]
    events: list[dict[str, JsonValue]]
    entries: list[dict[str, JsonValue]]
    agents: dict[str, dict[str, JsonValue]]


class AgentCounts(Described):
    steps: int
    failed: int
    avg_seconds: float


class Stats(Described):
    uptime_seconds: float
    total_requests: int
    error_count: int
    error_rate: str
    avg_response_time: str
    last_error: dict[str, JsonValue] | None
    tasks: dict[str, int]
    percentiles_seconds: dict[str, float | None]
    agents: dict[str, AgentCounts]
    now: dict[str, int]


class Delegate(Described):
    name: str
    description: str


class Delegates(Described):
    agents: list[Delegate]


class Delegated(Described):
    agent: str
    response: str
    output: JsonValue
    usage: Usage
    missing: list[Missing]
    booked: bool
