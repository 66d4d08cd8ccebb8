"""The invariants I1 to I10, held against what a seed recorded and against the journal that it left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulation.callers import Call
from tests.support.history import Answer, History

LATE_SECONDS = 2.0  # a task ends so long after its deadline, or after what kept it from ending
ANSWER_SECONDS = 1.0
MOST_TRIES = 3
ENDINGS = ("step.finished", "step.failed")


@dataclass(frozen=True)
class Committed:
    """An event that became durable, with the true time, whatever the process's clocks said."""

    at: float
    life: int
    id: int
    task_id: str | None
    type: str
    data: dict[str, Any]


@dataclass
class Evidence:
    """All that one seed has left."""

    calls: Sequence[Call]
    committed: Sequence[Committed]
    journal: Path
    blocked: Sequence[tuple[float, float]]  # times in which the coordinator was away or could not write
    secrets: Sequence[str]
    told: Iterable[str]  # log lines, events and metrics, in which no secret may be
    sent: Sequence[tuple[float, str, str]]  # steps that agents were called with: when, task, step
    samples: Sequence[str] = ()  # what was seen to be wrong while it ran
    refusals: Sequence[tuple[float, str]] = ()  # starts that did not succeed
    unwritable: Sequence[tuple[float, float]] = ()  # times in which the disk was full or broken


def find_broken(evidence: Evidence) -> list[str]:
    """Every broken invariant, in words."""
    history = History(evidence.journal)
    return [
        *(
            f"I2: the coordinator did not start: {why}"
            for at, why in evidence.refusals
            if not any(began <= at <= ended for began, ended in evidence.unwritable)
        ),
        *(wrong for call in evidence.calls for wrong in call.wrong),
        *_of_journal(evidence, history),
        *_of_commits(evidence, history),
        *_of_time(evidence),
        *_of_calls(evidence, history),
        *_of_errors(history),
        *evidence.samples,
        *_of_secrets(evidence, history),
    ]


def _of_journal(evidence: Evidence, history: History) -> Iterable[str]:
    accepted = sorted(id for call in evidence.calls for id in call.ids)
    for problem in history.problems(accepted=accepted, late_seconds=float("inf")):
        yield problem if problem.startswith("I") else f"I3: {problem}"
    for call in evidence.calls:
        if call.key is not None and len(call.ids) > 1:
            yield f"I3: one Idempotency-Key made {len(call.ids)} tasks"
        for id in call.ids:
            told = call.statuses - {history.tasks[id]["status"]} if id in history.tasks else set()
            if told:
                yield f"I1: the caller of {id} was told {sorted(told)}, the journal says {history.tasks[id]['status']}"


def _of_commits(evidence: Evidence, history: History) -> Iterable[str]:
    """What was durable once is durable at the end, and happened once."""
    kept = {(event.id, event.type) for event in history.events}
    ends: Counter[tuple[str, str]] = Counter()
    for event in evidence.committed:
        if event.task_id is not None and (event.id, event.type) not in kept:
            yield f"I2: event {event.id} {event.type} of task {event.task_id} was durable and is gone"
        if event.type in ENDINGS and event.task_id is not None:
            ends[event.task_id, event.data["step_id"]] += 1
    for (task, step), times in ends.items():
        if times > 1:
            yield f"I3: step {step} of task {task} ended {times} times"
    started: Counter[tuple[str, str, int]] = Counter()
    for logged in history.events:
        if logged.type == "step.started" and logged.task_id is not None and logged.data["instance"] is not None:
            started[logged.task_id, logged.data["step_id"], logged.data["attempt"]] += 1
    for (task, step, attempt), times in started.items():
        if times > 1:
            yield f"I3: attempt {attempt} of step {step} of task {task} was started {times} times"


def _of_time(evidence: Evidence) -> Iterable[str]:
    accepted = {e.task_id: e.at for e in evidence.committed if e.type == "task.accepted"}
    finished = {e.task_id: e.at for e in evidence.committed if e.type == "task.finished"}
    seconds = {id: call.seconds for call in evidence.calls for id in call.ids}
    for id, began in accepted.items():
        if id not in seconds or id not in finished:
            continue
        limit = _extend(began + seconds[id], seconds[id], evidence.blocked) + LATE_SECONDS
        if finished[id] > limit:
            yield f"I1: task {id} ended {finished[id] - limit:.2f} s too late, {seconds[id]} s after {began:.2f}"
    for call in evidence.calls:
        for answer in (Answer(seconds, call.seconds) for seconds, _ in call.answers):
            if answer.seconds > answer.timeout_seconds + ANSWER_SECONDS + 3.5:
                yield f"I4: a caller who gave {answer.timeout_seconds} s was answered after {answer.seconds:.2f} s"


def _extend(deadline: float, seconds: float, blocked: Sequence[tuple[float, float]]) -> float:
    """The latest moment for an end: after a time in which nobody could write it, a start gives the task its time."""
    limit = deadline
    for began, ended in sorted(blocked):
        if began <= limit + LATE_SECONDS and ended > deadline - seconds:
            limit = max(limit, ended + seconds)
    return limit


def _of_calls(evidence: Evidence, history: History) -> Iterable[str]:
    """I7 and I9: attempts, and calls of tasks with a budget or cancelled."""
    sent = Counter(task for _, task, _ in evidence.sent)
    for call in evidence.calls:
        for id in call.ids:
            most = call.body.get("max_calls")
            cut_off = history.tasks.get(id, {}).get("started_at") is not None and len(evidence.blocked) > 1
            if most is not None and not cut_off and sent[id] > most + 1:
                yield f"I9: task {id} may make {most} calls and made {sent[id]}"
            if call.cancelled_at is not None and history.tasks.get(id, {}).get("status") == "cancelled":
                late = [at for at, task, _ in evidence.sent if task == id and at > call.cancelled_at + 2.0]
                if late and not any(end > call.cancelled_at for _, end in evidence.blocked):
                    yield f"I9: task {id} was cancelled and made {len(late)} calls more than 2 s later"


def _of_errors(history: History) -> Iterable[str]:
    for key, step in history.steps.items():
        if step["status"] not in ("failed", "timed_out"):
            continue
        error = json.loads(step["error"]) if step["error"] else {}
        if not error.get("type") or not error.get("detail") or "retryable" not in error:
            yield f"I8: step {key} is {step['status']} and says {error}"


def _of_secrets(evidence: Evidence, history: History) -> Iterable[str]:
    said = [*evidence.told, *(json.dumps(event.data) for event in history.events)]
    for secret in evidence.secrets:
        for line in said:
            if secret in line:
                yield f"I10: a secret is in: {line.replace(secret, '<secret>')[:200]}"
                break
