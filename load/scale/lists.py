"""How long each list, page and explanation takes in a long history, asked of each coordinator in turn."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from itertools import cycle
from urllib.parse import quote

from load.figures.figure import Figure
from load.findings.rows import compute_percentiles
from load.growth.subject import Subject

EACH = 50  # calls
MOST_MILLISECONDS = 50.0
LISTS = {
    "newest": "/tasks",
    "of a status that most have": "/tasks?status=completed",
    "of a status that few have": "/tasks?status=timed_out",
    "of a status that none has": "/tasks?status=queued",
    "of an agent of all": "/tasks?agent=researcher",
    "of an agent and a status": "/tasks?agent=analyzer&status=failed",
    "of an agent of none": "/tasks?agent=nobody",
    "since now": "/tasks?since=2100-01-01T00:00:00Z",
    "since long ago": "/tasks?since=2000-01-01T00:00:00Z",
    "200 a page": "/tasks?limit=200",
    "halfway down": "/tasks?cursor={halfway}",
    "halfway down, of a status": "/tasks?status=failed&cursor={halfway}",
    "halfway down, of an agent": "/tasks?agent=reporter&cursor={halfway}",
    "the last page": "/tasks?cursor={end}",
    "what `muster tasks` asks": "/tasks?limit=20",
    "a task": "/tasks/{task}",
    "why": "/tasks/{task}/why",
    "the audit": "/audit",
    "the audit, further down": "/audit?before=100000",
    "/stats": "/stats",
    "/agents": "/agents",
}
PAGES = {
    "tasks": "/console/tasks",
    "tasks of a status": "/console/tasks?status=failed",
    "tasks of an agent": "/console/tasks?agent=researcher",
    "a word that all have": "/console/tasks?q=tides",
    "a word that some have": "/console/tasks?q=oslo",
    "a word that none has": "/console/tasks?q=nowhere",
    "a word, of a status": "/console/tasks?q=oslo&status=timed_out",
    "a word, of an agent": "/console/tasks?q=oslo&agent=analyzer",
    "the beginning of an id": "/console/tasks?q={begin}",
    "a task": "/console/tasks/{task}",
    "agents": "/console/agents",
    "health": "/console/health",
}
FIGURES = {"the last hour": "/console/numbers", "the last day": "/console/numbers?of=day"}  # no lists: no target


async def measure_lists(subjects: Sequence[Subject], *, seconds: float) -> list[Figure]:
    """The p99 of each; the oldest task is so old."""
    names = await _find_names(subjects[0], seconds)
    found = []
    for kind, paths, most in (
        ("list", LISTS, MOST_MILLISECONDS),
        ("page", PAGES, MOST_MILLISECONDS),
        ("page", FIGURES, None),
    ):
        for name, path in paths.items():
            took = await _time_calls(subjects, path.format(**names), page=kind == "page")
            found.append(Figure(f"{kind}, {name}: p99", 1000 * compute_percentiles(took)[2], "ms", target=most))
    return found


async def _find_names(subject: Subject, seconds: float) -> dict[str, str]:
    """What the paths name: a task, and cursors far down."""
    _, said = await subject.http.request("GET", "/tasks?limit=200")
    task: str = json.loads(said)["tasks"][100]["task_id"]
    cursors = {
        name: _write_cursor(time.time() - age) for name, age in (("halfway", seconds / 2), ("end", seconds - 30))
    }
    return {"task": task, "begin": task[:6], **cursors}


def _write_cursor(at: float) -> str:
    """As the API writes it: the place of a task that was created then."""
    return quote(base64.urlsafe_b64encode(f"{at!r}\x00".encode()).decode())


async def _time_calls(subjects: Sequence[Subject], path: str, *, page: bool) -> list[float]:
    """Each coordinator's first call loads what it needs, and does not count."""
    headers = {"Accept": "text/html"} if page else {}
    for subject in subjects:
        await subject.http.request("GET", path, headers=headers)
    seconds = []
    for _, subject in zip(range(EACH), cycle(subjects), strict=False):
        began = time.monotonic()
        status, said = await subject.http.request("GET", path, headers=headers)
        seconds.append(time.monotonic() - began)
        if status != 200:
            raise RuntimeError(f"{path}: HTTP {status}: {said[:300].decode(errors='replace')}")
    return seconds
