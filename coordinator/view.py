"""PURE: a task as its clients see it, with a report whatever its steps delivered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue, ValidationError

from coordinator.tasks import Step, Task, last_steps, missing
from shared import rendering
from shared.contracts import Format, Status, StepView, TaskResult, TaskView
from shared.report import Report

TITLE_CHARACTERS = 120


def view(task: Task) -> TaskView:
    """The TaskView of a task, open or ended."""
    base = f"/tasks/{task.id}"
    return TaskView.model_construct(
        task_id=task.id,
        status=task.status,
        task_description=task.description,
        result=_result(task) if task.ended else None,
        results=[_step(s) for s in task.steps if s.status is not Status.QUEUED or task.ended],
        missing=missing(task),
        usage=task.usage,
        created_at=_utc(task.created_at),
        started_at=_utc(task.started_at) if task.started_at else None,
        finished_at=_utc(task.finished_at) if task.finished_at else None,
        deadline=_utc(task.deadline),
        duration_seconds=round(task.finished_at - task.created_at, 6) if task.finished_at else None,
        links={"self": base, "events": f"{base}/events", "report": f"{base}/report", "cancel": f"{base}/cancel"},
    )


def report(task: Task, format: Format) -> str:
    """The report of a task in a format, made from what is there when no reporter delivered one."""
    text = _foreign_report(task)
    if text is not None and format != "json":
        return text if format == "markdown" else rendering.markdown_to_html(text, _title(task))
    document = _document(task)
    if format == "json":
        return document.model_dump_json(indent=2)
    return rendering.to_markdown(document) if format == "markdown" else rendering.to_html(document)


def _result(task: Task) -> TaskResult | None:
    done = [s for s in task.steps if s.status is Status.COMPLETED]
    if not done:
        return None
    return TaskResult(report=_report_value(task), format=task.format, findings=_findings(task), sources=_sources(task))


def _report_value(task: Task) -> JsonValue:
    if any(s.capability == "report" for s in task.steps):
        text = report(task, task.format)
        return text if task.format != "json" else _document(task).model_dump(mode="json")
    outputs: dict[str, JsonValue] = {s.id: s.output for s in last_steps(task)}
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _document(task: Task) -> Report:
    """The reporter's document with the final list of what is missing, or a plain one from what is there."""
    for output in _outputs(task, "report"):
        if isinstance(output, dict) and isinstance(output.get("document"), dict):
            try:
                return Report.model_validate(output["document"]).model_copy(update={"missing": missing(task)})
            except ValidationError:
                continue  # a foreign reporter's own idea of a document
    found = {s.id: s.output for s in _best(task)}
    return rendering.plain_report(_title(task), task.description, found, missing(task))


def _foreign_report(task: Task) -> str | None:
    """The text of a reporter that delivers only text."""
    for output in _outputs(task, "report"):
        if isinstance(output, str):
            return output
        if isinstance(output, dict) and isinstance(output.get("report"), str) and "document" not in output:
            return str(output["report"])
    return None


def _best(task: Task) -> list[Step]:
    done = [s for s in task.steps if s.status is Status.COMPLETED]
    return [s for s in done if s.capability == "analyze"] or last_steps(task)


def _findings(task: Task) -> list[JsonValue]:
    return _listed(_outputs(task, "analyze"), "findings")


def _sources(task: Task) -> list[JsonValue]:
    """Sources in the report's order, else the most relevant first; no passage twice."""
    documents: list[Any] = [o.get("document") for o in _outputs(task, "report") if isinstance(o, dict)]
    for found in (documents, _outputs(task, "analyze"), _outputs(task, "research")):
        sources = _listed(found, "sources") or _listed(found, "evidence")
        if sources:
            shown = ("id", "title", "location", "provider", "score", "excerpt", "number")
            plain = {str(s.get("id", s)): {k: s[k] for k in shown if k in s} for s in sources if isinstance(s, dict)}
            ordered: list[Any] = list(plain.values())
            return list(ordered if found is documents else sorted(ordered, key=_score, reverse=True))
    return []


def _score(source: dict[str, Any]) -> float:
    score = source.get("score")
    return float(score) if isinstance(score, int | float) else 0.0


def _listed(outputs: list[Any], name: str) -> list[Any]:
    return [item for o in outputs if isinstance(o, dict) and isinstance(o.get(name), list) for item in o[name]]


def _outputs(task: Task, capability: str) -> list[Any]:
    return [s.output for s in task.steps if s.capability == capability and s.status is Status.COMPLETED]


def _step(step: Step) -> StepView:
    seconds = step.finished_at - step.started_at if step.finished_at and step.started_at else None
    return StepView.model_construct(  # of values that have been checked
        step_id=step.id,
        capability=step.capability,
        agent=step.answered_by or step.agent,
        instance=step.instance,
        status=step.status,
        attempt=step.attempt,
        output=step.output,
        usage=step.usage,
        error=step.error,
        started_at=_utc(step.started_at) if step.started_at else None,
        duration_seconds=round(seconds, 6) if seconds is not None else None,
    )


def _title(task: Task) -> str:
    line = " ".join(task.description.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rsplit(" ", 1)[0] + "…"


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
