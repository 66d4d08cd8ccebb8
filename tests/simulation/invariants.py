"""The invariants I1 to I10, held against what a seed recorded and against the journal that it left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulation.callers import Call
from tests.simulation.witness import Witness
from tests.support.history import History

LATE_SECONDS = 2.0  # a task ends so long after its deadline, or after what kept it from ending
EARLY_SHARE = 0.7  # a default plan's first step may take all but so much of the task's time, and the task ends with it
NOT_RETRYABLE = {"agent_refused", "bad_response", "timeout", "limit_reached", "bad_input"}
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
    journal: Path | str  # a file, or the address of a database
    outages: Sequence[tuple[float, float]]  # times in which the coordinator was away
    disk_trouble: Sequence[tuple[float, float]]  # times in which its disk was slow, full or broken
    jumped: Sequence[float]  # when its wall clock jumped
    secrets: Sequence[str]
    told: Iterable[str]  # log lines, events and metrics, in which no secret may be
    witness: Witness
    refusals: Sequence[tuple[float, str]] = ()  # starts that did not succeed


def find_broken(evidence: Evidence) -> list[str]:
    """Every broken invariant, in words."""
    history = History(evidence.journal)
    return [
        *(
            f"I2: the coordinator did not start: {why}"
            for at, why in evidence.refusals
            if not any(began <= at <= ended + LATE_SECONDS for began, ended in evidence.disk_trouble)
        ),
        *(wrong for call in evidence.calls for wrong in call.wrong),
        *_of_journal(evidence, history),
        *_of_commits(evidence, history),
        *_of_time(evidence),
        *_of_calls(evidence, history),
        *_of_errors(history),
        *sorted(set(evidence.witness.wrong)),
        *_of_lies(evidence, history),
        *_of_retries(evidence),
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
    """I1: a task ends by its deadline, and times out no sooner."""
    accepted = {e.task_id: e.at for e in evidence.committed if e.type == "task.accepted"}
    finished = {e.task_id: (e.at, e.data["status"]) for e in evidence.committed if e.type == "task.finished"}
    seconds = {id: call.seconds for call in evidence.calls for id in call.ids}
    for id, began in accepted.items():
        if id not in seconds or id not in finished:
            continue
        at, status = finished[id]
        late = at - _extend(began, seconds[id], evidence) - LATE_SECONDS
        if late > 0:
            yield f"I1: task {id} ended {late:.2f} s too late; it had {seconds[id]} s from {began:.2f} on"
        early = began + seconds[id] - at
        if status == "timed_out" and early > EARLY_SHARE * seconds[id] and not _is_unsure(began, at, evidence):
            yield f"I1: task {id} timed out {early:.2f} s before its deadline"


def _extend(began: float, seconds: float, evidence: Evidence) -> float:
    """The latest moment for an end: its deadline, or the end of what kept the coordinator from writing it.

    A start cannot know how long it was away where the wall clock jumped: the task has all of its time again then.
    """
    limit = began + seconds
    blocked = sorted([*evidence.outages, *evidence.disk_trouble])
    for start, end in blocked:
        if start <= limit + LATE_SECONDS and end > began:
            limit = max(limit, end + (seconds if evidence.jumped else 0.0))
    return limit


def _is_unsure(began: float, ended: float, evidence: Evidence) -> bool:
    """Whether a start in the life of a task had to trust a wall clock that has jumped."""
    return bool(evidence.jumped) and any(began <= end <= ended for _, end in evidence.outages)


def _of_calls(evidence: Evidence, history: History) -> Iterable[str]:
    """I7 and I9: attempts, and calls of tasks with a budget or cancelled."""
    sent = Counter(task for task, _, _ in {(s.task, s.step, s.attempt) for s in evidence.witness.sent})
    for call in evidence.calls:
        for id in call.ids:
            most = call.body.get("max_calls")
            if most is not None and sent[id] > most + 1 + _count_cut_off(history, id):
                yield f"I9: task {id} may make {most} calls and made {sent[id]}"
            if call.cancelled_at is not None and history.tasks.get(id, {}).get("status") == "cancelled":
                late = [s for s in evidence.witness.sent if s.task == id and s.at > call.cancelled_at + 2.0]
                trouble = [*evidence.outages, *evidence.disk_trouble]
                if late and not any(e > call.cancelled_at and b < late[-1].at for b, e in trouble):
                    yield f"I9: task {id} was cancelled and made {len(late)} calls more than 2 s later"


def _count_cut_off(history: History, task: str) -> int:
    """Attempts that the coordinator's own death has cut off: they are made again, and count for no budget."""
    attempts: dict[str, set[tuple[str, int]]] = {"step.started": set(), "ended": set()}
    for event in history.events_of[task]:
        if event.type in ("step.started", "step.retried", *ENDINGS):
            kind = event.type if event.type == "step.started" else "ended"
            attempts[kind].add((event.data["step_id"], event.data["attempt"]))
    return len(attempts["step.started"] - attempts["ended"])


def _of_lies(evidence: Evidence, history: History) -> Iterable[str]:
    """What an agent answered for another task or attempt counts for nothing; a webhook that counts has arrived."""
    for (task, step), row in history.steps.items():
        if row["status"] == "completed" and (task, step, row["attempt"]) in evidence.witness.lies:
            yield f"I3: step {step} of task {task} is completed by a lie"
    for event in history.events:
        if event.type == "webhook.sent" and event.task_id not in evidence.witness.hooked:
            yield f"I2: the webhook of task {event.task_id} counts as delivered and never arrived"


def _of_retries(evidence: Evidence) -> Iterable[str]:
    """I7: what must not be tried again is not."""
    for event in evidence.committed:
        if event.type == "step.retried" and event.data["error"] in NOT_RETRYABLE:
            yield f"I7: step {event.data['step_id']} of {event.task_id} was tried again after {event.data['error']}"


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
