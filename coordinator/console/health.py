"""The page of health: what the doctor's rules find in what the coordinator knows by itself."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from coordinator.agents.instance import Instance
from coordinator.api.dependencies import OpenServices, Services
from coordinator.api.documents.changes import list_readers
from coordinator.cli.doctor.facts import (
    RECENT_SECONDS,
    Coordinator,
    Diagnosis,
    Facts,
    SeenAgent,
    SeenUploads,
    TaskLimits,
)
from coordinator.cli.doctor.machine import find_available_memory, look_at_disk
from coordinator.console.pages import View
from coordinator.console.showing import show
from coordinator.console.visitor import Reader
from coordinator.journal.location import journal_path

router = APIRouter(prefix="/console/health", include_in_schema=False)
WORST_FIRST = {"problem": 0, "warning": 1, "ok": 2}
TITLES = {"problem": "There are problems", "warning": "All works; something needs attention", "ok": "All is well"}


@router.get("")
async def get_health(request: Request, services: OpenServices, visitor: Reader) -> Response:
    """What is wrong, and which command mends it."""
    return await show(request, services, visitor, lambda: _view(services))


async def _view(services: Services) -> View:
    from coordinator.cli.doctor.rules import examine

    facts = await _look(services)
    findings = sorted(examine(facts), key=lambda one: WORST_FIRST[one.severity])
    if (trouble := services.store.find_trouble()) is not None:
        findings.insert(
            0, Diagnosis(check="disk", severity="problem", what="The journal cannot be written.", why=trouble)
        )
    worst = findings[0].severity if findings else "ok"
    return View("health.html", "Health", "health", {"findings": findings, "summary": TITLES[worst], "worst": worst})


async def _look(services: Services) -> Facts:
    """The doctor's facts, as far as they can be seen from inside: no containers, and no logs."""
    at = services.wall()
    failed = {
        status: [t for t in await services.store.list_tasks(status=status, limit=200) if _is_recent(t.finished_at, at)]
        for status in ("failed", "timed_out")
    }
    last = services.stats.summarize()["last_error"] or {}
    settings = services.settings
    journal = journal_path(settings.database_url)
    return Facts(
        at=at,
        coordinator=Coordinator(
            url=(settings.public_url or "http://localhost:8000").rstrip("/"),
            agents=tuple(_see(one, services, at) for one in services.agents.registry.list_all()),
            running=services.admission.running,
            queued=services.admission.queued,
            failed=sum(len(found) for found in failed.values()),
            failed_status=max(failed, key=lambda status: len(failed[status])),
            last_error=str(last.get("detail", "")),
            last_error_type=str(last.get("type", "")),
            uploads=await _look_at_uploads(services),
            keyless=not services.secured,
        ),
        disks=await asyncio.to_thread(look_at_disk, journal.parent.absolute()) if journal else (),
        memory_available=await asyncio.to_thread(find_available_memory),
        limits=TaskLimits(running=settings.max_concurrent_tasks, queued=settings.max_queued_tasks),
    )


async def _look_at_uploads(services: Services) -> SeenUploads | None:
    if not services.uploads.on:
        return None
    held, limits = await services.uploads.look(), services.uploads.settings
    return SeenUploads(
        documents=len(held.documents),
        bytes=held.bytes,
        most_documents=limits.uploads_files,
        most_bytes=limits.uploads_bytes,
        free_bytes=held.free_bytes,
        trouble=held.trouble,
        searched=bool(list_readers(held, services)),
    )


def _is_recent(finished_at: float | None, at: float) -> bool:
    return finished_at is not None and at - finished_at < RECENT_SECONDS


def _see(one: Instance, services: Services, at: float) -> SeenAgent:
    known = one.registration
    return SeenAgent(
        id=one.id,
        name=one.name,
        endpoint=known.endpoint,
        instance=known.instance or "",
        capabilities=tuple(known.capabilities),
        status=one.status.value,
        load=one.load,
        max_concurrency=known.max_concurrency,
        breaker=services.agents.get_breaker(one),
        last_error=one.last_error or "",
        silent_seconds=at - one.wall_last_seen if one.wall_last_seen is not None else None,
    )
