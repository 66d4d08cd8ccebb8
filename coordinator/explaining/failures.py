"""PURE: why a step failed, as a cause: from its error, its attempts and what its agent asked of others."""

from __future__ import annotations

from coordinator.explaining.causes import Cause, Kind
from coordinator.explaining.timeline import Delegation, StepCourse
from coordinator.explaining.usual import Usual

MOST_DETAIL = 300  # characters of an error that are shown
PART = 0.5  # of a step's time that a delegation took which made it slow
_NOT_THERE = ("connect", "refused", "not known", "no route")  # in what a call that got nowhere says
_BY_TYPE = {
    "agent_unreachable": Kind.AGENT_AWAY,
    "agent_lost": Kind.AGENT_AWAY,
    "agent_busy": Kind.AGENT_BUSY,
    "agent_refused": Kind.AGENT_REFUSED,
    "bad_input": Kind.AGENT_REFUSED,
    "bad_response": Kind.BAD_RESPONSE,
    "model_failed": Kind.MODEL,
    "overloaded": Kind.OVERLOADED,
    "quarantined": Kind.QUARANTINED,
    "cancelled": Kind.CANCELLED,
}


def explain_failure(course: StepCourse, usual: Usual | None) -> Cause | None:
    """Why a step failed that its task did not cut off; None where a rule does not fit."""
    step, error = course.step, course.step.error
    if error is None:
        return None
    kind = _find_kind(course, usual)
    if kind is None:
        return None
    who = step.answered_by or step.agent
    said = f"Step {step.id!r}{f' at {who!r}' if who else ''} {_WORDS.get(kind, 'failed')}: {shorten(error.detail)}"
    if kind in (Kind.DELEGATION_FAILED, Kind.DELEGATION_REFUSED):
        return tell_delegation(course, find_bad_delegation(course))
    if kind is Kind.DELEGATION_SLOW:
        return tell_delegation(course, max(course.delegations, key=lambda d: d.seconds))
    return Cause(kind, said, step=step.id, agent=who, seconds=course.seconds)


def find_bad_delegation(course: StepCourse) -> Delegation | None:
    """The first delegation that was refused or failed, if there was one."""
    return next((d for d in course.delegations if d.refused or d.error not in (None, "cancelled")), None)


def tell_delegation(course: StepCourse, bad: Delegation | None) -> Cause:
    """A delegation that went wrong as a cause; None is one that the step's error tells of, and no event."""
    step, who = course.step, course.step.answered_by
    if bad is None:
        detail = step.error.detail if step.error is not None else ""
        return Cause(Kind.DELEGATION_REFUSED, f"Step {step.id!r}: {shorten(detail)}", step=step.id, agent=who)
    if bad.refused:
        said = f"Below step {step.id!r}, asking agent {bad.agent!r} was refused: {shorten(bad.why)}"
        return Cause(Kind.DELEGATION_REFUSED, said, step=step.id, agent=bad.agent)
    if bad.error is not None and bad.error != "cancelled":
        said = f"Step {step.id!r} asked agent {bad.agent!r}, which failed: {shorten(bad.error)}."
        return Cause(Kind.DELEGATION_FAILED, said, step=step.id, agent=bad.agent, seconds=bad.seconds)
    said = f"Step {step.id!r} asked agent {bad.agent!r}, which took {bad.seconds:.2f} s."
    return Cause(Kind.DELEGATION_SLOW, said, step=step.id, agent=bad.agent, seconds=bad.seconds)


def shorten(text: str) -> str:
    """An error's own words, on one line."""
    plain = " ".join(text.split())
    return plain if len(plain) <= MOST_DETAIL else f"{plain[: MOST_DETAIL - 1]}…"


_WORDS = {
    Kind.AGENT_UNKNOWN: "found no agent",
    Kind.AGENT_AWAY: "could not reach its agent",
    Kind.AGENT_BUSY: "found every instance busy",
    Kind.BREAKER: "was not sent, since every instance had kept failing",
    Kind.BUDGET: "had nothing left to spend",
    Kind.OUTPUT: "delivered too much",
    Kind.AGENT_SLOW: "took longer than usual",
    Kind.STEP_TIMEOUT: "did not answer in time",
    Kind.AGENT_TIMEOUT: "ran out of time inside the agent",
    Kind.MODEL: "could not use its model",
    Kind.BROKEN: "broke inside the coordinator",
}


def _find_kind(course: StepCourse, usual: Usual | None) -> Kind | None:
    error = course.step.error
    assert error is not None
    detail = error.detail
    bad = find_bad_delegation(course)
    if error.type == "no_agent":
        return _find_no_agent(detail)
    if error.type == "limit_reached":
        if "does not fit" in detail:
            return Kind.OUTPUT
        if (bad is not None and bad.refused) or "in the chain" in detail or "Delegation ends" in detail:
            return Kind.DELEGATION_REFUSED
        return Kind.BUDGET
    if error.type == "timeout":
        return _find_timeout(course, usual)
    if error.type == "internal_error" and "in the coordinator" in detail:
        return Kind.BROKEN
    if error.type in _BY_TYPE and (bad is None or error.type in ("agent_unreachable", "agent_lost")):
        return _BY_TYPE[error.type]
    if bad is not None:
        return Kind.DELEGATION_REFUSED if bad.refused else Kind.DELEGATION_FAILED
    if detail.startswith("HTTP 504"):
        return Kind.AGENT_TIMEOUT
    if "model_failed" in error.type or error.type.startswith("model_"):
        return Kind.MODEL
    return Kind.AGENT_ERROR


def _find_no_agent(detail: str) -> Kind:
    if "has ever registered" in detail:
        return Kind.AGENT_UNKNOWN
    instances = detail.partition(": ")[2].split("; ")
    return Kind.BREAKER if all(_keeps_failing(said) for said in instances) else Kind.AGENT_AWAY


def _keeps_failing(said: str) -> bool:
    """Whether what is said of an instance is that it answers, and fails: in steps, or when a canary asks it."""
    if "canaries in a row" in said:
        return not any(word in said.lower() for word in _NOT_THERE)
    return "times in a row" in said


def _find_timeout(course: StepCourse, usual: Usual | None) -> Kind | None:
    """Of a step whose own end came first: it was never sent, or its agent did not answer until then."""
    detail = course.step.error.detail if course.step.error is not None else ""
    if "stayed busy" in detail:
        return Kind.AGENT_BUSY
    if not detail.startswith(("No answer within", "The step ran out of time")):
        return Kind.AGENT_TIMEOUT if course.attempts else None
    slow = max(course.delegations, key=lambda d: d.seconds, default=None)
    if slow is not None and slow.seconds > PART * course.seconds:
        return Kind.DELEGATION_SLOW
    had = course.attempts[-1].seconds if course.attempts else 0.0
    if usual is not None:
        if usual.p95 < 0.5 * had:
            return Kind.AGENT_SLOW
        return Kind.STEP_TIMEOUT if course.step.timeout_seconds is not None else Kind.DEADLINE
    return Kind.STEP_TIMEOUT if course.step.timeout_seconds is not None else None
