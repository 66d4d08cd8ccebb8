"""The wire: every body that crosses HTTP between clients, coordinator and workers, as a type.

Unknown fields are refused on `TaskRequest` only; the other bodies ignore what they do not know and carry
`contract: 1`, so that versions can be mixed during an upgrade. Times are ISO 8601 UTC, durations seconds.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SkipValidation,
    StringConstraints,
    field_validator,
    model_validator,
)

from shared.calls.call import Calls
from shared.null import Null
from shared.urls import base_url, http_url

CONTRACT = 1
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"  # in pydantic (Rust) `$` is the very end, also before a line break
MAX_TIMEOUT_SECONDS = 86_400
MAX_DESCRIPTION = 100_000
MAX_STEPS = 1_000  # of a plan
MAX_ASKED = 200  # agents that are all asked at once
MAX_BODY_BYTES = 2_000_000  # of a request to the coordinator
MAX_RESULT_BYTES = 8_000_000  # of an answer from an agent
MAX_METADATA_BYTES = 4_096  # of a registration, as JSON
SECRET = "Muster-Secret"  # the header of a DELETE that withdraws an agent
CANARY = "muster.canary"  # the capability of a step that only asks whether the agent answers steps
MAX_COUNT = 10**12  # of calls and tokens: sums of them still fit the journal

Name = Annotated[str, StringConstraints(pattern=NAME, strict=True)]
Url = Annotated[str, StringConstraints(strict=True, max_length=2_000)]
Secret = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=256)]
Seconds = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Format = Literal["markdown", "html", "json"]
Protocol = Literal["muster", "openai", "a2a"]


class Status(StrEnum):
    """Status of a task or a step."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class AgentStatus(StrEnum):
    PENDING = "pending"
    HEALTHY = "healthy"
    UNREACHABLE = "unreachable"
    DRAINING = "draining"


class _Open(BaseModel):
    """A body that may come from another version: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Closed(BaseModel):
    """A body in which an unknown field is an error, most likely a typing error."""

    model_config = ConfigDict(extra="forbid")


class Registration(_Open):
    """`POST /register_agent`. The same call again is the heartbeat.

    With `instance` the agent says that it will call again (every 2 s) and holds a lease of 6 s;
    without it (a hand-written `curl`) only the coordinator's own probes tell whether it lives. The first call with a
    `secret`, which the agent makes, binds the agent's id to it. `canary` says that the agent answers canaries,
    `idempotent` that a step may run in two instances at once.
    """

    contract: int = CONTRACT
    name: Name
    endpoint: Annotated[Url, AfterValidator(base_url)]
    capabilities: Annotated[list[Name], Field(max_length=64)]
    description: Annotated[str, StringConstraints(strict=True, max_length=500), Null("")] = ""
    instance: Name | None = None
    protocol: Annotated[Protocol, Null("muster")] = "muster"
    max_concurrency: Annotated[int, Field(ge=1, le=10_000, strict=True)] | None = None
    version: Annotated[str, StringConstraints(strict=True, max_length=64), Null("")] = ""
    draining: Annotated[bool, Null(False)] = False
    metadata: Annotated[dict[str, JsonValue], Field(max_length=64), Null(dict)] = Field(default_factory=dict)
    secret: Secret | None = Field(None, repr=False)
    canary: Annotated[bool, Null(False)] = False
    idempotent: Annotated[bool, Null(False)] = False


class Registered(BaseModel):
    """The answer to a registration. `key` (hex) is what the coordinator signs this agent's envelopes with."""

    contract: int = CONTRACT
    agent_id: str
    name: str
    status: AgentStatus
    lease_seconds: float
    key: str


class AgentView(BaseModel):
    agent_id: str
    name: str
    instance: str | None
    endpoint: str
    capabilities: list[str]
    description: str
    protocol: Protocol
    status: AgentStatus
    load: int
    max_concurrency: int | None
    latency_seconds: float | None
    breaker: Literal["closed", "open", "half_open"]
    last_error: str | None
    last_seen: datetime | None
    version: str
    last_canary: datetime | None = None
    canary_error: str | None = None


class PlanStep(_Closed):
    """One step of a plan a caller sends: which agent does it (`capability` or `agent`), and after which others."""

    id: Name
    capability: Name | None = None
    agent: Name | None = None
    needs: Annotated[list[Name], Field(max_length=MAX_STEPS), Null(list)] = Field(default_factory=list)
    input: JsonValue = None
    timeout_seconds: Seconds | None = None
    on_failure: Annotated[Literal["fail", "continue"], Null("fail")] = "fail"

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if (self.capability is None) == (self.agent is None):
            raise ValueError("must have exactly one of 'capability' and 'agent'")
        return self


class TaskRequest(_Closed):
    """`POST /execute_task`."""

    task_description: Annotated[str, StringConstraints(strict=True, max_length=MAX_DESCRIPTION)]
    timeout_seconds: Seconds | None = None
    plan: Annotated[list[PlanStep], Field(min_length=1, max_length=MAX_STEPS)] | None = None
    agents: Annotated[list[Name], Field(min_length=1, max_length=MAX_ASKED)] | None = None
    context: Annotated[JsonValue, SkipValidation] = None  # parsed from JSON: looking again took twice as long
    priority: Annotated[int, Field(ge=0, le=9, strict=True), Null(5)] = 5
    max_calls: Annotated[int, Field(ge=1, le=100_000, strict=True)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)] | None = None
    format: Annotated[Format, Null("markdown")] = "markdown"
    webhook_url: Annotated[Url, AfterValidator(http_url)] | None = None

    @field_validator("task_description")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be empty")
        return value

    @model_validator(mode="after")
    def _plan_or_agents(self) -> Self:
        if self.plan is not None and self.agents is not None:
            raise ValueError("'plan' and 'agents' cannot be used together")
        return self


class Usage(_Open):
    """What a step or a task has spent; values are bounded by what the database can store."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    calls: Count = 0
    input_tokens: Count = 0
    output_tokens: Count = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        if not (other.calls or other.input_tokens or other.output_tokens):
            return self
        if not (self.calls or self.input_tokens or self.output_tokens):
            return other
        return Usage.model_construct(  # both have been checked
            calls=min(MAX_COUNT, self.calls + other.calls),
            input_tokens=min(MAX_COUNT, self.input_tokens + other.input_tokens),
            output_tokens=min(MAX_COUNT, self.output_tokens + other.output_tokens),
        )


NO_USAGE = Usage()  # frozen: one serves all
ONE_CALL = Usage(calls=1)


class Missing(_Open):
    """Something an agent was asked for and did not deliver."""

    what: str
    why: str


class StepError(_Open):
    """Why a step failed: a stable code, a sentence, and whether sending it again may help."""

    type: str
    detail: str
    retryable: bool = False


class StepView(BaseModel):
    step_id: str
    capability: str | None
    agent: str | None
    instance: str | None
    status: Status
    attempt: int
    output: JsonValue = None
    usage: Usage = Field(default_factory=Usage)
    error: StepError | None = None
    started_at: datetime | None = None
    duration_seconds: float | None = None
    taken_from: str | None = Field(default=None, exclude_if=lambda value: value is None)


class TaskResult(BaseModel):
    """What a task found out; `confidence` is the share of the question that the best passage holds, from 0 to 1."""

    report: JsonValue
    format: Format
    answered: bool | None = None
    confidence: float = 0.0
    findings: list[JsonValue]
    sources: list[JsonValue]


class WebhookView(BaseModel):
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    error: str | None


class RerunView(BaseModel):
    """Of which task this one is a re-run; `usage` is what the steps taken over have cost before."""

    parent: str
    from_step: str | None
    taken_over: list[str]
    usage: Usage


class TaskView(BaseModel):
    """A task as clients see it; an open one shows what is known so far."""

    task_id: str
    status: Status
    task_description: str
    result: TaskResult | None
    results: list[StepView]
    missing: list[Missing]
    usage: Usage
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline: datetime
    duration_seconds: float | None
    links: dict[str, str]
    webhook: WebhookView | None = Field(default=None, exclude_if=lambda value: value is None)
    rerun: RerunView | None = Field(default=None, exclude_if=lambda value: value is None)


class StepRequest(_Open):
    """`POST {endpoint}/execute`. `upstream` holds the outputs of the steps this one needs, by step id."""

    contract: int = CONTRACT
    task_id: str
    step_id: str
    attempt: int = 1
    capability: str | None = None
    task_description: str = ""
    input: JsonValue = None
    upstream: dict[str, JsonValue] = Field(default_factory=dict)
    missing: list[Missing] = Field(default_factory=list)
    context: JsonValue = None


class StepResult(_Open):
    """What a worker answers, whole or as the last event of a stream."""

    contract: int = CONTRACT
    task_id: str | None = None
    step_id: str
    attempt: int
    status: Literal["completed", "failed", "cancelled"]
    output: JsonValue = None
    usage: Usage = Field(default_factory=Usage)
    missing: list[Missing] = Field(default_factory=list)
    error: StepError | None = None
    calls: Calls = Field(default_factory=list, exclude_if=lambda calls: not calls)
    recording: str | None = Field(default=None, exclude=True)  # what the step exchanged, where it was asked for


class Progress(_Open):
    """How far a step is: a sentence for a person, and a share from 0 to 1 where it is known.

    `report` is how the task's report begins, as `shared.report.model.Report` has it: its content does not change later.
    """

    message: Annotated[str, StringConstraints(max_length=500)]
    fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    report: dict[str, JsonValue] | None = None
