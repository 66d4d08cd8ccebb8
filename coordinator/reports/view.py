"""PURE: a task as its clients see it, with a result whatever its steps delivered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from coordinator.reports.document import collect_items, document, has_report, outputs, report
from coordinator.tasks.task import Rerun, Step, Task, last_steps, measure_seconds, missing
from shared.contracts import NO_USAGE, RerunView, Status, StepView, TaskResult, TaskView, WebhookView
from shared.copying import constructed

WITHOUT_OUTPUTS = {"results": {"__all__": {"output"}}}  # they are long; GET /tasks/{id} has them


def view(task: Task, base: str = "") -> TaskView:
    """The TaskView of a task, open or ended; `base` is the path that the coordinator appears below."""
    base = f"{base}/tasks/{task.id}"
    taken = task.rerun.taken if task.rerun is not None else {}
    return constructed(
        TaskView,
        task_id=task.id,
        status=task.status,
        task_description=task.description,
        result=_result(task) if task.ended else None,
        results=[_step(s, taken) for s in task.steps if s.status is not Status.QUEUED or task.ended],
        missing=missing(task),
        usage=task.usage,
        created_at=_utc(task.created_at),
        started_at=_utc(task.started_at) if task.started_at else None,
        finished_at=_utc(task.finished_at) if task.finished_at else None,
        deadline=_utc(task.deadline),
        duration_seconds=measure_seconds(task.created_at, task.finished_at) if task.finished_at else None,
        links={"self": base, "events": f"{base}/events", "report": f"{base}/report", "cancel": f"{base}/cancel"},
        webhook=WebhookView(status="pending", attempts=0, error=None) if task.webhook_url else None,
        rerun=_rerun(task, task.rerun) if task.rerun is not None else None,
    )


def _rerun(task: Task, rerun: Rerun) -> RerunView:
    before = sum((task.step(id).usage for id in rerun.taken), NO_USAGE)
    return RerunView(parent=rerun.of, from_step=rerun.from_step, taken_over=list(rerun.taken), usage=before)


def _result(task: Task) -> TaskResult | None:
    done = [s for s in task.steps if s.status is Status.COMPLETED]
    if not done:
        return None
    answered, confidence = _judge(task)
    return TaskResult(
        report=_report_value(task),
        format=task.format,
        answered=answered,
        confidence=confidence,
        findings=collect_items(outputs(task, "analyze"), "findings"),
        sources=_sources(task),
    )


def _judge(task: Task) -> tuple[bool | None, float]:
    """Whether the question is answered, and how much of it: as the report says, else as the analyses do."""
    reports = [o.get("document") for o in outputs(task, "report") if isinstance(o, dict)]
    said: list[Any] = [o for o in reports if isinstance(o, dict)] or outputs(task, "analyze")
    judged = [o for o in said if isinstance(o, dict) and isinstance(o.get("answered"), bool)]
    shares = [o["confidence"] for o in judged if isinstance(o.get("confidence"), int | float)]
    answered = any(o["answered"] for o in judged) if judged else None
    return answered, min(1.0, max(0.0, *shares)) if shares else 0.0


def _report_value(task: Task) -> JsonValue:
    if has_report(task):
        return report(task, task.format) if task.format != "json" else document(task).model_dump(mode="json")
    last: dict[str, JsonValue] = {s.id: s.output for s in last_steps(task)}
    return next(iter(last.values())) if len(last) == 1 else last


def _sources(task: Task) -> list[JsonValue]:
    """Sources in the report's order, else the most relevant first; no passage twice."""
    documents: list[Any] = [o.get("document") for o in outputs(task, "report") if isinstance(o, dict)]
    for found in (documents, outputs(task, "analyze"), outputs(task, "research")):
        sources = collect_items(found, "sources") or collect_items(found, "evidence")
        if sources:
            shown = ("id", "title", "location", "provider", "score", "excerpt", "number")
            plain = {str(s.get("id", s)): {k: s[k] for k in shown if k in s} for s in sources if isinstance(s, dict)}
            ordered: list[Any] = list(plain.values())
            return list(ordered if found is documents else sorted(ordered, key=_score, reverse=True))
    return []


def _score(source: dict[str, Any]) -> float:
    score = source.get("score")
    return float(score) if isinstance(score, int | float) else 0.0


def _step(step: Step, taken: Mapping[str, str]) -> StepView:
    began, ended = step.started_at, step.finished_at
    return constructed(
        StepView,
        step_id=step.id,
        capability=step.capability,
        agent=step.answered_by or step.agent,
        instance=step.instance,
        status=step.status,
        attempt=step.attempt,
        output=step.output,
        usage=step.usage,
        error=step.error,
        started_at=_utc(began) if began else None,
        duration_seconds=measure_seconds(began, ended) if began and ended else None,
        taken_from=taken.get(step.id),
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
