"""PURE: what the form under Run again asks for, and what it offers."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from coordinator.console.figures.words import as_json
from coordinator.tasks.rerun import RerunRequest
from coordinator.tasks.task import Step, Task
from shared.contracts import Status
from shared.errors import BadRequest
from shared.rendering import clean
from shared.server import bodies

EDITABLE = 100_000  # characters of an input: a longer one is changed through the API
FIELD = "input:"


def write_input(step: Step) -> str | None:
    """The input of a step as it can be edited; None for one that is too long."""
    text = "" if step.input is None else as_json(step.input, EDITABLE + 1)
    shown = clean(text.replace("\r\n", "\n").replace("\r", "\n"), keep_lines=True)  # as a browser sends it back
    return shown if len(text) <= EDITABLE else None


def find_step(task: Task) -> str | None:
    """The first step that did not complete, of a task in which others did: from here it is worth running again."""
    done = any(step.status is Status.COMPLETED for step in task.steps if not step.is_planning)
    lost = (step for step in task.steps if step.status is not Status.COMPLETED)
    return next((step.id for step in lost), None) if done else None


def read_wish(parent: Task, form: Mapping[str, str], from_step: str | None) -> RerunRequest:
    """What a form asks for; `from_step` is that of its button. Raises `BadRequest` and `Invalid`."""
    body: dict[str, JsonValue] = {"from_step": (form.get("from_step") if from_step is None else from_step) or None}
    try:
        if seconds := form.get("timeout_seconds"):
            body["timeout_seconds"] = float(seconds)
        body["inputs"] = {
            step.id: _read_input(form[FIELD + step.id])
            for step in parent.steps
            if form.get(FIELD + step.id, write_input(step)) != write_input(step)
        }
        return RerunRequest.model_validate(body)
    except ValidationError as exc:
        raise bodies.make_invalid(exc) from exc
    except ValueError as exc:
        raise BadRequest("Seconds are a number, and what looks like JSON has to be JSON.") from exc


def _read_input(text: str) -> JsonValue:
    """JSON, or text; raises ValueError for what begins as JSON and is none."""
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        if text.lstrip()[:1] in ("{", "["):
            raise
        return text
    return value
