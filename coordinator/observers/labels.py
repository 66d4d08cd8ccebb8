"""PURE: the values that labels of the coordinator's metrics take, all of them bounded."""

from __future__ import annotations

from collections.abc import Iterator

from shared.contracts import Status
from shared.errors import (
    AgentBusy,
    AgentFailed,
    AgentLost,
    AgentRefused,
    AgentUnreachable,
    BadResponse,
    LimitReached,
    ModelFailed,
    MusterError,
    NoAgent,
    StepTimeout,
)
from shared.server.metrics import OTHER

NO_AGENT = "(none)"  # of steps that no agent was found for
ENDS = (Status.COMPLETED, Status.FAILED, Status.TIMED_OUT, Status.CANCELLED)
TASK_ENDS = (*ENDS, Status.PARTIAL)
STEP_ENDS = (*ENDS, Status.SKIPPED)
OFTEN = tuple(  # classes of errors that are shown with zeros for every agent
    kind.type
    for kind in (
        AgentUnreachable,
        AgentLost,
        AgentBusy,
        AgentFailed,
        AgentRefused,
        BadResponse,
        StepTimeout,
        ModelFailed,
        LimitReached,
    )
)


def _types(kind: type[MusterError]) -> Iterator[str]:
    yield kind.type
    for narrower in kind.__subclasses__():
        yield from _types(narrower)


_KNOWN = frozenset(_types(MusterError)) | {NoAgent.type}


def error_class(type: str) -> str:
    """An error's type as a label: those that Muster has, for an agent may send any."""
    return type if type in _KNOWN else OTHER
