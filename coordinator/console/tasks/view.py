"""One task as a page shows it: its waterfall, its report as far as there is one, and a step that was chosen."""

from __future__ import annotations

import asyncio
import json
import shlex
from typing import Any

from pydantic import JsonValue, ValidationError

from coordinator.api.dependencies import Services
from coordinator.console.figures.waterfall import Waterfall, draw
from coordinator.console.pages import View
from coordinator.console.tasks.again import FIELD, find_step, write_input
from coordinator.explaining.causes import Kind
from coordinator.explaining.explanation import Explanation
from coordinator.explaining.facts import MOST_EVENTS, explain_task
from coordinator.journal.events import TaskEvent
from coordinator.reports.document import in_words
from coordinator.tasks.plan import plan
from coordinator.tasks.task import Step, Task, missing
from coordinator.tasks.task import upstream as delivered_to
from shared import rendering
from shared.contracts import PlanStep, Status, TaskRequest
from shared.rendering.links import source_link
from shared.report.model import Report

SHOWN = 20_000  # characters of an input, or an output
MOST_EVIDENCE = 50
MOST_ROWS = 300
EVENTS_SHOWN = 200
WHY = {
    Status.FAILED: "Why it failed",
    Status.TIMED_OUT: "Why it ran out of time",
    Status.PARTIAL: "Why it is partial",
}
_RECORDED = "SELECT 1 FROM recordings WHERE task_id = :task_id LIMIT 1"
_OF_A_PLAN = ("capability", "agent", "needs", "input", "timeout_seconds", "on_failure")


async def view_task(services: Services, task_id: str, chosen: str) -> View:
    """Raises `NotFound`."""
    task = await services.dispatcher.get_task(task_id)
    events = await services.store.events(task_id, limit=MOST_EVENTS)
    explained = await explain_task(task, services.store, now=services.wall(), events=events)
    source = source_link(f"{services.settings.base_path}/console/tasks/{task.id}/sources/")
    values = await asyncio.to_thread(_compose, explained, events, chosen, source, now=services.wall())
    values["curl"] = write_curl(task, services)
    values["recorded"] = task.ended and bool(await services.store.read(_RECORDED, {"task_id": task_id}, aside=True))
    over = task.ended and services.dispatcher.get_live(task.id) is None
    return View("task.html", rendering.clean(task.description[:400])[:80], "tasks", values, over=over)


def _compose(
    explained: Explanation, events: list[TaskEvent], chosen: str, source: rendering.Link, *, now: float
) -> dict[str, Any]:
    """What the page shows; it may take a while for a thousand steps, so it is done beside the loop."""
    task = explained.task
    fall = draw(task, events, explained.timeline)
    step = next((s for s in task.steps if s.id == chosen), None)
    return {
        "task": task,
        "causes": [cause for cause in explained.causes if cause.kind is not Kind.CANCELLED],
        "why": _title(explained),
        "spent": explained,
        "fall": fall,
        "rows": fall.rows[:MOST_ROWS],
        "hidden": max(0, len(fall.rows) - MOST_ROWS),
        "now": now,
        "missing": missing(task)[:MOST_ROWS] if task.ended else [],
        "report": _report(task, events, source),
        "has_report": task.ended and any(s.status is Status.COMPLETED for s in task.steps),
        "lost_step": find_step(task) if task.ended else None,
        "step": _describe(task, step, events, fall) if step else None,
        "events": [(e, _summarize(e)) for e in events[-EVENTS_SHOWN:]],
        "untold": max(0, len(events) - EVENTS_SHOWN),
    }


def _title(explained: Explanation) -> str:
    """What the causes explain."""
    if not explained.task.ended:
        return "What holds it up"
    slowed = explained.causes and explained.causes[0].seconds > 0
    return WHY.get(explained.task.status, "What slowed it down" if slowed else "What went wrong")


def _report(task: Task, events: list[TaskEvent], link: rendering.Link) -> Any:
    """The report as HTML, or how it begins while it is made; None where there is nothing yet."""
    if task.ended:
        done = any(s.status is Status.COMPLETED for s in task.steps)
        return rendering.markdown_to_part(in_words(task, link)) if done else None
    for event in reversed(events):
        if event.type == "step.progress" and isinstance(event.fields.get("report"), dict):
            try:
                report = Report.model_validate(event.fields["report"])
            except ValidationError:
                return None
            return rendering.markdown_to_part(rendering.beginning_to_markdown(report, link))
    return None


def _describe(task: Task, step: Step, events: list[TaskEvent], fall: Waterfall) -> dict[str, Any]:
    """What is shown of the step that was chosen."""
    output = step.output
    found: Any = output.get("evidence") or output.get("sources") if isinstance(output, dict) else None
    evidence = [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []
    return {
        "step": step,
        "input": step.input,
        "editable": write_input(step) if task.ended and not step.is_planning else None,
        "field": FIELD + step.id,
        "upstream": sorted(delivered_to(task, step)),
        "output": output,
        "evidence": evidence[:MOST_EVIDENCE],
        "more_evidence": max(0, len(evidence) - MOST_EVIDENCE),
        "told": fall.told.get(step.id, [])[-50:],
        "row": next(row for row in fall.rows if row.id == step.id and row.is_step),
    }


def _summarize(event: TaskEvent) -> str:
    """An event's facts in one line."""
    facts = (f"{k} {v}" for k, v in event.fields.items() if v is not None and not isinstance(v, dict | list))
    return " · ".join(facts)


def write_curl(task: Task, services: Services) -> str:
    """The command that asks for the same again."""
    body: dict[str, JsonValue] = {"task_description": task.description, "timeout_seconds": round(task.seconds, 3)}
    for name, usual in (("format", "markdown"), ("priority", 5), ("max_calls", None), ("max_tokens", None)):
        if (value := getattr(task, name)) != usual:
            body[name] = value
    if task.context is not None:
        body["context"] = task.context
    steps = [step for step in task.steps if not step.is_planning]
    usual_steps = plan(TaskRequest(task_description=task.description), known_agents=())
    if [(s.id, s.capability, s.agent, s.needs) for s in steps] != [
        (s.id, s.capability, s.agent, s.needs) for s in usual_steps
    ]:
        body["plan"] = [_plan_step(step) for step in steps]
    address = (services.settings.public_url or "http://localhost:8000").rstrip("/")
    words = ["curl -s", f"{address}/execute_task", "-H 'Content-Type: application/json'"]
    if services.secured:
        words.append('-H "Authorization: Bearer $API_KEY"')
    return " ".join([*words, "-d", shlex.quote(json.dumps(body, ensure_ascii=False))])


def _plan_step(step: Step) -> JsonValue:
    usual = PlanStep(id=step.id, capability="any")
    said = {name: getattr(step, name) for name in _OF_A_PLAN if getattr(step, name) not in (None, ())}
    return {"id": step.id, **{k: v for k, v in said.items() if k in ("capability", "agent") or v != getattr(usual, k)}}
