"""The error tree: every failure Muster can name, with its HTTP status and problem type (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shared.contracts import NO_USAGE, Usage


class MusterError(Exception):
    """A failure with a name.

    `status` is the HTTP status at the edge, `type` the stable code clients match on, `retryable` whether
    the same call may be sent again, `headers` what the answer carries besides.
    """

    status = 500
    type = "internal_error"
    title = "Internal error"
    retryable = False

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


class BadRequest(MusterError):
    status, type, title = 400, "bad_request", "The request cannot be read"


class BadInput(BadRequest):
    """A worker found its question wrong: nobody but the caller can mend that."""

    type, title = "bad_input", "The input is wrong"


class Unauthorized(MusterError):
    status, type, title = 401, "unauthorized", "Who is asking is not known"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class OriginRefused(MusterError):
    """A web page of another site asks."""

    status, type, title = 403, "origin_refused", "Pages of that site may not ask"


class NotFound(MusterError):
    status, type, title = 404, "not_found", "There is no such thing"


class ModelNotFound(NotFound):
    """A chat names a model that this service does not answer to."""

    type, title = "model_not_found", "There is no such model"


class Conflict(MusterError):
    status, type, title = 409, "conflict", "Not possible in this state"


class TooLarge(MusterError):
    status, type, title = 413, "too_large", "The request body is too large"


class Invalid(MusterError):
    """A body or parameter of the wrong shape; `errors` is a list of `{pointer, detail}` (RFC 6901 pointers)."""

    status, type, title = 422, "invalid", "The request has the wrong shape"

    def __init__(self, detail: str, errors: list[dict[str, str]]) -> None:
        super().__init__(detail, errors=errors)


class KeyReused(Invalid):
    """An Idempotency-Key that was used with another body before."""

    def __init__(self) -> None:
        pointer = {"pointer": "/headers/Idempotency-Key", "detail": "was used with another body"}
        super().__init__("This Idempotency-Key was used with another body.", [pointer])


class Overloaded(MusterError):
    """More is waiting than may wait; `retry_after` is in seconds, from the measured drain rate."""

    status, type, title, retryable = 429, "overloaded", "Too many tasks are waiting", True

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, retry_after_seconds=retry_after)


class Unavailable(MusterError):
    """Not now, but later: shutting down, disk full, or an agent that is away."""

    status, type, title, retryable = 503, "unavailable", "Not available right now", True

    def __init__(self, detail: str, *, retry_after: int = 5, location: str | None = None) -> None:
        headers = {"Retry-After": str(retry_after)} | ({"Location": location} if location else {})
        super().__init__(detail, headers=headers)


class StorageFull(Unavailable):
    """The journal's disk has no room: nothing was written, nothing is damaged."""

    type, title = "storage_full", "The journal's disk is full"


class StorageBroken(MusterError):
    """The journal cannot be used at all: broken, newer than this program, or held by another process."""

    type, title = "storage_broken", "The journal cannot be used"


# What can go wrong with one step. Each becomes `error: {type, detail, retryable}` of its result.


class StepFailure(MusterError):
    """One attempt of a step failed.

    `reached` says whether the agent may have started the work: `False` means it certainly did not.
    `blames_agent` says whether the failure counts against that instance's breaker. `usage` is what it cost, `booked`
    whether the coordinator counts that already.
    """

    status, type, title = 502, "agent_error", "The agent failed"
    reached = True
    blames_agent = True
    usage: Usage = NO_USAGE
    booked = False


class AgentUnreachable(StepFailure):
    """The connection was refused, timed out, or the name has no address: the agent never saw the call."""

    type, title, retryable, reached = "agent_unreachable", "The agent cannot be reached", True, False


class AgentLost(StepFailure):
    """The connection broke after the call was sent; the step's key makes a repeat safe."""

    type, title, retryable = "agent_lost", "The agent went away in the middle of the step", True


class AgentBusy(StepFailure):
    """The agent answered 429 or 503: it did not start."""

    status, type, title = 429, "agent_busy", "The agent is busy"
    retryable, reached, blames_agent = True, False, False


class AgentFailed(StepFailure):
    """The agent answered with an error of its own: HTTP 5xx, or a result with `status: failed`."""

    type, title, retryable = "agent_error", "The agent answered with an error", True


class AgentRefused(StepFailure):
    """The agent answered 4xx: sending the same again would not help."""

    type, title, blames_agent = "agent_refused", "The agent refused the step", False


class BadResponse(StepFailure):
    """The answer is not a StepResult: HTML, a redirect, another task's result, too large, wrong shape."""

    type, title = "bad_response", "The agent's answer cannot be used"


class StepTimeout(StepFailure):
    """The step's time was over before an answer."""

    status, type, title = 504, "timeout", "The step's time was over"


class NoAgent(StepFailure):
    """Nobody can take the step: never registered (at once), or away for too long."""

    status, type, title, reached, blames_agent = 503, "no_agent", "No agent can take the step", False, False


class WorkerFault(MusterError):
    """What a worker author raises to fail a step with a reason of their own; `retryable` may be set."""

    type, title = "agent_error", "The agent failed"

    def __init__(self, detail: str, *, type: str | None = None, retryable: bool = False) -> None:
        super().__init__(detail)
        self.type = type or self.type
        self.retryable = retryable


class EnvelopeRefused(MusterError):
    """The signed envelope is missing, forged, for somebody else, or does not match the body."""

    status, type, title = 401, "envelope_refused", "The envelope is not accepted"


class LimitReached(MusterError):
    """The step has nothing left of what it wants to spend: calls, tokens, depth or time."""

    status, type, title = 429, "limit_reached", "Nothing left to spend"
    usage: Usage = NO_USAGE


class ModelFailed(MusterError):
    """The language model is away, refuses, or answers rubbish; `usage` is what it cost all the same."""

    status, type, title = 502, "model_failed", "The language model failed"

    def __init__(self, detail: str, *, usage: Usage = NO_USAGE, retry_after: float | None = None) -> None:
        super().__init__(detail, headers={"Retry-After": str(math.ceil(retry_after))} if retry_after else None)
        self.usage = usage


class ContextTooSmall(ModelFailed):
    """The model reads less than it was sent: `tokens`, prompt and reply together, where its server says how much."""

    title = "The language model reads less than it was sent"

    def __init__(self, detail: str, *, usage: Usage = NO_USAGE, tokens: int | None = None) -> None:
        super().__init__(detail, usage=usage)
        self.tokens = tokens


class ToolsRefused(ModelFailed):
    """The model takes no tools beside a conversation; it may still write calls into its text."""

    title = "The language model takes no tools"
