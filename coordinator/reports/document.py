"""PURE: the report of a task, whatever its steps delivered, in any format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import JsonValue, ValidationError

from coordinator.tasks.task import Step, Task, last_steps, missing
from shared import rendering
from shared.contracts import Format, Status
from shared.rendering import Link, address
from shared.report.model import Report

TITLE_CHARACTERS = 120


def report(task: Task, format: Format, link: Link = address) -> str:
    """The report of a task in a format; `link` says where its sources can be opened.

    It is made from what is there when no reporter delivered one.
    """
    text = foreign_text(task)
    if text is not None and format != "json":
        return text if format == "markdown" else rendering.markdown_to_html(text, title(task))
    found = document(task)
    if format == "json":
        return found.model_dump_json(indent=2)
    return rendering.to_markdown(found, link) if format == "markdown" else rendering.to_html(found, link)


def in_words(task: Task, link: Link = address) -> str:
    """The report as an answer in a conversation, Markdown: it begins with the answer, or with the admission."""
    text = foreign_text(task)
    return text if text is not None else rendering.answer_to_markdown(document(task), link)


def document(task: Task) -> Report:
    """The reporter's document with the final list of what is missing, or a plain one from what is there."""
    for output in outputs(task, "report"):
        if isinstance(output, dict) and isinstance(output.get("document"), dict):
            try:
                return Report.model_validate(output["document"]).model_copy(update={"missing": missing(task)})
            except ValidationError:
                continue  # a foreign reporter's own idea of a document
    found = {step.id: step.output for step in _best(task)}
    return rendering.plain_report(title(task), task.description, found, missing(task))


def foreign_text(task: Task) -> str | None:
    """The text of a reporter that delivers only text."""
    for output in outputs(task, "report"):
        if isinstance(output, str):
            return output
        if isinstance(output, dict) and isinstance(output.get("report"), str) and "document" not in output:
            return str(output["report"])
    return None


def has_report(task: Task) -> bool:
    """Whether the task's plan has a report, delivered or not."""
    return any(step.capability == "report" for step in task.steps)


def outputs(task: Task, capability: str) -> list[Any]:
    """What the completed steps of a capability delivered."""
    return [s.output for s in task.steps if s.capability == capability and s.status is Status.COMPLETED]


def collect_items(found: Iterable[JsonValue], name: str) -> list[Any]:
    """The items of a list of that name in each output."""
    lists = [output.get(name) for output in found if isinstance(output, dict)]
    return [item for one in lists if isinstance(one, list) for item in one]


def title(task: Task) -> str:
    """The task's description in one line of at most 120 characters."""
    line = " ".join(task.description.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rsplit(" ", 1)[0] + "…"


def _best(task: Task) -> list[Step]:
    done = [s for s in task.steps if s.status is Status.COMPLETED]
    return [s for s in done if s.capability == "analyze"] or last_steps(task)
