"""A source of a report in its context: as the researcher has it now, else as it was kept with the task."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from coordinator.agents.instance import Instance
from coordinator.api.dependencies import Services
from coordinator.api.signing import sign
from coordinator.reports.document import collect_items, document, outputs
from coordinator.tasks.task import Task
from shared.contracts import AgentStatus
from shared.errors import NotFound
from shared.rendering import web_url
from shared.rendering.passage import ShownPassage
from shared.report.model import Evidence, NumberedSource
from shared.report.sources import PlacedPassage

RESEARCHER_SECONDS = 2.0  # that a researcher may take; then the passage is shown as it was kept
MAX_BYTES = 4_000_000
AS_IT_WAS = "this is the passage as it was when the task ran."
AWAY = f"The researcher is unavailable: {AS_IT_WAS}"
CHANGED = f"The document has changed or been removed since: {AS_IT_WAS}"
OF_THE_WEB = f"The page may have changed since: {AS_IT_WAS}"
_ID = re.compile(r"(?!\.+\Z)[\x21-\x7e]{1,200}\Z")  # goes into a path, and a dot there climbs


class SourceView(BaseModel):
    """A source as JSON; `current` says that the document has the passage now, `note` why not."""

    task_id: str
    number: int
    id: str
    title: str
    heading: str
    location: str
    language: str
    modified: str
    text: str
    before: str
    after: str
    current: bool
    note: str


def view_source(task: Task, place: ShownPassage) -> SourceView:
    """A place for programs."""
    source = place.source
    return SourceView(
        task_id=task.id,
        number=source.number,
        id=source.id,
        title=source.title,
        heading=source.heading,
        location=source.location,
        language=source.language,
        modified=source.modified,
        text=place.text,
        before=place.before,
        after=place.after,
        current=not place.note,
        note=place.note,
    )


async def place(task: Task, number: int, services: Services) -> ShownPassage:
    """The source with this number, in its context. Raises `NotFound` for a number that the report does not have."""
    report = await asyncio.to_thread(document, task)
    source = next((source for source in report.sources if source.number == number), None)
    if source is None:
        raise NotFound(f"The report of task {task.id} has no source {number}; it has {len(report.sources)} of them.")
    kept = ShownPassage(source, _find_kept(task, source), question=report.title, words=report.words)
    if web_url(source.location):
        return _with_note(kept, OF_THE_WEB)
    found = await _ask_researchers(source.id, _researchers(task, source.id, services), services)
    if not isinstance(found, PlacedPassage):
        return _with_note(kept, found)
    now = {"title": found.title, "heading": found.heading, "location": found.location}
    date = {"modified": found.modified or source.modified, "language": found.language or source.language}
    fresh = source.model_copy(update=now | date)
    return ShownPassage(fresh, found.text, found.before, found.after, question=report.title, words=report.words)


def _with_note(kept: ShownPassage, note: str) -> ShownPassage:
    return ShownPassage(kept.source, kept.text, note=note, question=kept.question, words=kept.words)


def _find_kept(task: Task, source: NumberedSource) -> str:
    """The passage that the steps handed on, else the excerpt in the report."""
    for capability, name in (("research", "evidence"), ("analyze", "sources")):
        for item in collect_items(outputs(task, capability), name):
            if isinstance(item, dict) and item.get("id") == source.id:
                try:
                    if text := Evidence.model_validate(item).text.strip():
                        return text
                except ValidationError:
                    continue  # what a foreign researcher calls evidence
    return source.excerpt


def _researchers(task: Task, id: str, services: Services) -> list[Instance]:
    """Who may have the passage, whoever found it first: several may look into the same folder."""
    found_by = {
        step.instance
        for step in task.steps
        if any(isinstance(e, dict) and e.get("id") == id for e in collect_items([step.output], "evidence"))
    }
    able = [
        instance
        for instance in services.agents.registry.find(capability="research", agent=None)
        if instance.status is AgentStatus.HEALTHY and instance.registration.protocol == "muster"
    ]
    return sorted(able, key=lambda instance: instance.id not in found_by)


async def _ask_researchers(id: str, researchers: Iterable[Instance], services: Services) -> PlacedPassage | str:
    """The passage from the first that has it, within two seconds; else a sentence that says why there is none."""
    why = AWAY
    if not _ID.match(id):
        return CHANGED
    try:
        async with asyncio.timeout(RESEARCHER_SECONDS):
            for researcher in researchers:
                url = f"{researcher.registration.endpoint}/passages/{quote(id, safe='')}"
                limits = {"deadline": RESEARCHER_SECONDS, "max_bytes": MAX_BYTES}
                asked = services.http.build_request("GET", url, extensions=limits)
                sign(asked, researcher, services)
                try:
                    answer = await services.http.send(asked)
                    if answer.is_success:
                        return PlacedPassage.model_validate_json(answer.content)
                except (httpx.TransportError, ValidationError):
                    continue
                why = CHANGED if answer.status_code == 404 else why
    except TimeoutError:
        return AWAY
    return why
