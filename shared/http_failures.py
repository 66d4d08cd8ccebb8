"""What went wrong with a call to an agent, as a `StepFailure`, the same for every caller and protocol."""

from __future__ import annotations

import httpx

from shared.client.client import (
    AddressRefused,
    BadCoding,
    BodyTooLarge,
    DeadlineExceeded,
    NoDescriptor,
    Whole,
    may_have_arrived,
)
from shared.errors import (
    AgentBusy,
    AgentFailed,
    AgentLost,
    AgentRefused,
    AgentUnreachable,
    BadResponse,
    CallNotSent,
    StepFailure,
    StepTimeout,
)

SHOWN_CHARACTERS = 200  # of a wrong answer, in the error


def failure_from_answer(answer: Whole, why: str = "") -> StepFailure:
    """What a bad answer means for the step; `why` is what its body says, if known.

    429 and 503 mean that it was not started (RFC 6585, RFC 9110), `x-should-retry: false` that a repeat is unwise.
    A 504 is a failure like any other 5xx: a gateway's patience ended, or another agent's, not the time of this step.
    """
    status = answer.status
    said = f"HTTP {status}: {why or preview(answer.body)}"
    if status in (429, 503):
        return AgentBusy(said, headers={"Retry-After": answer.headers.get("retry-after", "1")})
    if status == 408:  # the request did not reach it whole (RFC 9110, section 15.5.9): our pause, or the network's
        lost = AgentLost(said)
        lost.reached = lost.blames_agent = False
        return lost
    if 300 <= status < 400:
        return BadResponse(f"The agent answered with a redirect (HTTP {status}), which is not followed.")
    if 200 <= status < 300:
        return BadResponse(f"The agent answered {said}")
    failure = AgentFailed(said) if 500 <= status < 600 else AgentRefused(said)
    if answer.headers.get("x-should-retry") == "false":
        failure.retryable = False
    return failure


def failure_from_error(exc: httpx.TransportError, seconds: float) -> StepFailure:
    """What a network error means for a step that had this many seconds."""
    if isinstance(exc, BodyTooLarge | BadCoding):
        return BadResponse(str(exc))
    if isinstance(exc, DeadlineExceeded):
        return StepTimeout(f"No answer within {seconds:.1f} s.")
    said = str(exc) or type(exc).__name__
    if isinstance(exc, NoDescriptor | httpx.PoolTimeout):
        return CallNotSent(said)
    if may_have_arrived(exc):
        return AgentLost(f"The connection was lost before the response was complete: {said}")
    failure = AgentUnreachable(said)
    failure.retryable = not isinstance(exc, AddressRefused | httpx.UnsupportedProtocol)
    return failure


def preview(body: bytes) -> str:
    """The beginning of a body, on one line."""
    text = " ".join(body[: SHOWN_CHARACTERS * 4].decode("utf-8", "replace").split())
    return text[:SHOWN_CHARACTERS] or "(empty)"
