"""PURE: the kinds of causes that a task's course can have, and a cause as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can make a task slow, failed, partial or expensive."""

    QUEUE = "queue"  # it waited for a place
    AGENT_UNKNOWN = "agent_unknown"  # none ever registered
    AGENT_AWAY = "agent_away"  # unreachable, lost, or away
    AGENT_BUSY = "agent_busy"  # every instance was full
    BREAKER = "breaker"  # every instance had failed too often in a row
    AGENT_SLOW = "agent_slow"  # against what is usual for it
    AGENT_ERROR = "agent_error"
    AGENT_REFUSED = "agent_refused"
    AGENT_TIMEOUT = "agent_timeout"  # a limit of the agent's own
    BAD_RESPONSE = "bad_response"
    STEP_TIMEOUT = "step_timeout"  # the limit of the step
    DEADLINE = "deadline"  # too short for the plan
    RETRIES = "retries"
    RESTART = "restart"
    MODEL = "model"
    PLANNER = "planner"
    BUDGET = "budget"
    OUTPUT = "output_too_large"
    DELEGATION_REFUSED = "delegation_refused"
    DELEGATION_FAILED = "delegation_failed"
    DELEGATION_SLOW = "delegation_slow"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"
    OVERLOADED = "coordinator_overloaded"
    BROKEN = "coordinator_broken"
    WEBHOOK = "webhook"
    SKIPPED = "skipped"  # told with what it follows from


ADVICE = {
    Kind.QUEUE: "Raise MAX_CONCURRENT_TASKS, send fewer tasks at once, or give this one a higher priority.",
    Kind.AGENT_UNKNOWN: "Start an agent that offers it, or correct the name in the plan.",
    Kind.AGENT_AWAY: "See why the agent was away: `muster agents` and `muster doctor`; then `muster rerun` the task.",
    Kind.AGENT_BUSY: "Start another instance of the agent, or raise its MAX_CONCURRENCY.",
    Kind.BREAKER: "Mend the agent: its log says why it kept failing.",
    Kind.AGENT_SLOW: "See what the agent was doing at that time; it is usually faster.",
    Kind.AGENT_ERROR: "See the agent's log for this task.",
    Kind.AGENT_REFUSED: "Correct the step's input: sending the same again would not help.",
    Kind.AGENT_TIMEOUT: "Raise the limit inside the agent, or see what it waited for.",
    Kind.BAD_RESPONSE: "Mend the agent, or the address that it registered: what answers is not a StepResult.",
    Kind.STEP_TIMEOUT: "Raise the step's timeout_seconds, or make its work smaller.",
    Kind.DEADLINE: "Give the task a longer timeout_seconds.",
    Kind.RETRIES: "Mend what failed at first; each retry costs time and a call.",
    Kind.RESTART: "See why the coordinator was restarted; what it had finished was kept.",
    Kind.MODEL: "Check the model: `muster doctor` tries it out.",
    Kind.PLANNER: "Check the planner's model, or send a plan with the task.",
    Kind.BUDGET: "Raise max_calls or max_tokens of the task.",
    Kind.OUTPUT: "Have the agent deliver less, or split the step.",
    Kind.DELEGATION_REFUSED: "Change whom the agent asks, or what the task may spend.",
    Kind.DELEGATION_FAILED: "Mend the agent that was asked.",
    Kind.DELEGATION_SLOW: "See what the asked agent was doing, or give it less to do.",
    Kind.CANCELLED: "Nothing: somebody stopped it.",
    Kind.QUARANTINED: "See the coordinator's log for what it died of before the task is run again.",
    Kind.OVERLOADED: "Raise the limit of open files, or send fewer tasks at once.",
    Kind.BROKEN: "Report it: this is an error in Muster, and its log has the traceback.",
    Kind.WEBHOOK: "Check that the webhook's URL answers 2xx; GET /tasks/{id} has the result.",
    Kind.SKIPPED: "Mend what it needed.",
}


@dataclass(frozen=True)
class Cause:
    """One cause: what happened, at which step and agent, and how much time it cost."""

    kind: Kind
    said: str
    step: str | None = None
    agent: str | None = None
    seconds: float = 0.0

    @property
    def advice(self) -> str:
        return ADVICE[self.kind]
