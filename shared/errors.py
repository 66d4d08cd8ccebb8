"""The error tree: every failure Muster can name, with its HTTP status and problem type (RFC 9457)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from shared.calls.call import Call
from shared.contracts import NO_USAGE, Usage

MAX_DETAIL = 2_000  # characters
_TYPE = re.compile(r"[a-z][a-z0-9_.:-]{0,63}\Z")


def truncate_detail(text: str) -> str:
    """A detail of at most 2,000 characters."""
    return text if len(text) <= MAX_DETAIL else f"{text[: MAX_DETAIL - 1]}…"


def is_error_type(text: str) -> bool:
    """Whether a text can be the `type` of an error: a word that programs match on."""
    return _TYPE.match(text) is not None


class MusterError(Exception):
    """A failure with a name.

    `status` is the HTTP status at the edge, `type` the stable code clients match on, `retryable` whether
    the same call may be sent again, `headers` what the answer carries besides, `usage` what the failed work cost.
    """

    status = 500
    type = "internal_error"
    title = "Internal error"
    retryable = False
    usage: Usage = NO_USAGE

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


class BadRequest(MusterError):
    status, type, title = 400, "bad_request", "Bad request"


class BadInput(BadRequest):
    """A worker rejected the input of its step; only the caller can fix it."""

    type, title = "bad_input", "Invalid input"


class Unauthorized(MusterError):
    status, type, title = 401, "unauthorized", "Authentication required"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class OriginRefused(MusterError):
    """A request from a web page of another site."""

    status, type, title = 403, "origin_refused", "Cross-origin request refused"


class Forbidden(MusterError):
    """Who asks is known, and may not do this."""

    status, type, title = 403, "forbidden", "Forbidden"


class ScopeRefused(Forbidden):
    """The key that was sent opens other routes, and not this one."""

    type, title = "scope_refused", "Scope missing"


class SecretRefused(Forbidden):
    """The agent's id is bound to a secret that the call does not have."""

    type, title = "secret_refused", "The agent's secret is missing or wrong"


class NameTaken(Forbidden):
    """An agent's name belongs to another key."""

    type, title = "name_taken", "The agent's name belongs to another key"


class NotFound(MusterError):
    status, type, title = 404, "not_found", "Not found"


class ModelNotFound(NotFound):
    """A chat names a model that this service does not offer."""

    type, title = "model_not_found", "Model not found"


class RequestTimeout(MusterError):
    """The body did not come in time; it may be sent again."""

    status, type, title, retryable = 408, "request_timeout", "Request timeout", True


class Conflict(MusterError):
    status, type, title = 409, "conflict", "Conflict with the current state"


class TooLarge(MusterError):
    status, type, title = 413, "too_large", "Request body too large"


class HeadTooLarge(MusterError):
    status, type, title = 431, "head_too_large", "Request header fields too large"


class Invalid(MusterError):
    """A body or parameter of the wrong shape; `errors` is a list of `{pointer, detail}` (RFC 6901 pointers)."""

    status, type, title = 422, "invalid", "Invalid request"

    def __init__(self, detail: str, errors: list[dict[str, str]]) -> None:
        super().__init__(detail, errors=errors)


class KeyReused(Invalid):
    """An Idempotency-Key that was already used with a different body."""

    def __init__(self) -> None:
        pointer = {"pointer": "/headers/Idempotency-Key", "detail": "was already used with a different body"}
        super().__init__("This Idempotency-Key was already used with a different body.", [pointer])


class Overloaded(MusterError):
    """The queue is full; `retry_after` is in seconds, from the measured drain rate."""

    status, type, title, retryable = 429, "overloaded", "Too many requests", True

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, retry_after_seconds=retry_after)


class Unavailable(MusterError):
    """Not now, but later: shutting down, disk full, or an agent that is away."""

    status, type, title, retryable = 503, "unavailable", "Temporarily unavailable", True

    def __init__(self, detail: str, *, retry_after: int = 5, location: str | None = None) -> None:
        headers = {"Retry-After": str(retry_after)} | ({"Location": location} if location else {})
        super().__init__(detail, headers=headers)


class StorageUnwritable(Unavailable):
    """The journal cannot be written now, for a reason that somebody can remove: what is done waits for it."""

    title = "The journal cannot be written"
    event: str  # in the log


class StorageFull(StorageUnwritable):
    """The journal's disk has no room: nothing was written, nothing is damaged."""

    type, title = "storage_full", "The journal's disk is full"
    event = "journal.full"


class StorageGone(StorageUnwritable):
    """The journal's files were removed or replaced under this process: what it writes would be lost at its end."""

    type, title = "storage_broken", "The journal was removed"
    event = "journal.gone"


class StorageAway(StorageUnwritable):
    """The database server does not answer, or takes no writes: what is written waits for it."""

    type, title = "storage_unavailable", "The database cannot be written"
    event = "journal.away"


class StorageBroken(MusterError):
    """The journal cannot be used at all: broken, newer than this program, or held by another process."""

    type, title = "storage_broken", "The journal cannot be used"


# What can go wrong with one step. Each becomes `error: {type, detail, retryable}` of its result.


class StepFailure(MusterError):
    """One attempt of a step failed.

    `reached` says whether the agent may have started the work: `False` means it certainly did not.
    `blames_agent` says whether the failure counts against that instance's breaker, `booked` whether the coordinator
    counts its usage already, `calls` what the step had called by then, `recording` what it exchanged, where that was
    asked for. Of a detail, which may be an agent's own words, the first 2,000 characters are kept: it is in the log, in
    the journal and in `/agents`.
    """

    status, type, title = 502, "agent_error", "The agent failed"
    reached = True
    blames_agent = True
    booked = False
    calls: Sequence[Call] = ()
    recording: str | None = None

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(truncate_detail(detail), headers=headers, **members)


class AgentUnreachable(StepFailure):
    """The connection was refused, timed out, or the name has no address: the agent never saw the call."""

    type, title, retryable, reached = "agent_unreachable", "Agent unreachable", True, False


class AgentReplaced(AgentUnreachable):
    """Another process answers at the agent's address and refuses what is signed for it: nothing was started."""


class AgentLost(StepFailure):
    """The connection was lost after the call was sent; the step's key makes a repeat safe."""

    type, title, retryable = "agent_lost", "Connection to the agent lost", True


class AgentBusy(StepFailure):
    """The agent answered 429 or 503: it did not start."""

    status, type, title = 429, "agent_busy", "Agent busy"
    retryable, reached, blames_agent = True, False, False


class CallNotSent(AgentBusy):
    """This process has no connection left for the call: the agent has nothing to do with it."""

    status, type, title = 503, "overloaded", "Too many open connections"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "1"})


class AgentFailed(StepFailure):
    """The agent returned an error: HTTP 5xx, or a result with `status: failed`."""

    type, title, retryable = "agent_error", "The agent returned an error", True


class AgentRefused(StepFailure):
    """The agent answered 4xx: sending the same again would not help."""

    type, title, blames_agent = "agent_refused", "The agent refused the step", False


class BadResponse(StepFailure):
    """The answer is not a StepResult: HTML, a redirect, another task's result, too large, wrong shape."""

    type, title = "bad_response", "Invalid response from the agent"


class OutputTooLarge(StepFailure):
    """The step's output does not fit in with the other outputs of its task, or of all tasks."""

    status, type, title, blames_agent = 429, "limit_reached", "Output too large", False


class StepTimeout(StepFailure):
    """The step ran out of time before the agent answered."""

    status, type, title = 504, "timeout", "Step timed out"


class NoAgent(StepFailure):
    """No agent can take the step: none was ever registered (fails at once), or all were away for too long."""

    status, type, title, reached, blames_agent = 503, "no_agent", "No agent available", False, False


class WorkerFault(MusterError):
    """Raised by a worker's author to fail a step, with a reason; `retryable` may be set."""

    type, title = "agent_error", "The agent failed"

    def __init__(self, detail: str, *, type: str | None = None, retryable: bool = False) -> None:
        super().__init__(detail)
        self.type = type or self.type
        self.retryable = retryable


class EnvelopeRefused(MusterError):
    """The signed envelope is missing, forged, for another agent, or does not match the body."""

    status, type, title = 401, "envelope_refused", "Envelope refused"


class LimitReached(MusterError):
    """The step has reached one of its limits: calls, tokens, depth or time."""

    status, type, title = 429, "limit_reached", "Limit reached"


class ModelFailed(MusterError):
    """The language model is unreachable, refuses, or gives an unusable answer; `usage` is what the call cost."""

    status, type, title = 502, "model_failed", "Language model failed"

    def __init__(self, detail: str, *, usage: Usage = NO_USAGE, retry_after: float | None = None) -> None:
        super().__init__(detail, headers={"Retry-After": str(math.ceil(retry_after))} if retry_after else None)
        self.usage = usage


class ContextTooSmall(ModelFailed):
    """The prompt does not fit the model's context: `tokens` is its size, prompt and reply together, if known."""

    title = "The prompt does not fit the model's context"

    def __init__(self, detail: str, *, usage: Usage = NO_USAGE, tokens: int | None = None) -> None:
        super().__init__(detail, usage=usage)
        self.tokens = tokens


class ToolsRefused(ModelFailed):
    """The model does not support tools; it may still write calls into its text."""

    title = "The language model does not support tools"
