"""Faults of callers: the same key a thousand times, readers that come and go."""

from __future__ import annotations

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from load.chaos.fault import Fault, at_most, holds
from load.chaos.project import Project
from load.chaos.traffic import QUESTION
from load.figures.figure import Figure

REPEATS = 1_000
READERS = 50


def ask_again_and_again(project: Project) -> list[Figure]:
    """One key a thousand times while the coordinator is killed, and once with another body."""
    key = {"Idempotency-Key": f"chaos-{time.time_ns()}"}
    asked: list[str | None] = []

    def ask(_: int) -> None:
        until = time.monotonic() + 45
        while time.monotonic() < until:
            try:
                _, said = project.call("/execute_task", QUESTION, headers=key, seconds=30.0)
            except OSError:
                said = None
            view = said.get("task", said) if isinstance(said, dict) else {}
            if isinstance(view, dict) and "task_id" in view:
                asked.append(str(view["task_id"]))
                return
            time.sleep(0.5)
        asked.append(None)

    with ThreadPoolExecutor(50) as pool:
        for number in range(REPEATS):
            pool.submit(ask, number)
        time.sleep(0.5)
        project.crash(project.find("coordinator"))
    other, _ = project.call("/execute_task", {**QUESTION, "priority": 1}, headers=key, seconds=30.0)
    return [
        at_most(f"tasks made by {REPEATS} requests", len({id for id in asked if id}), 1),
        at_most("without an answer", asked.count(None), 0),
        holds("another body is 422", other == 422),
    ]


def read_in_pieces(project: Project) -> list[Figure]:
    """The events of one task, one connection for each event, fifty times; then all at once."""
    _, view = project.call("/execute_task", QUESTION, seconds=30.0)
    path = f"/tasks/{view['task_id']}/events"
    whole, differing = _read(project, path, after=None, most=None), 0
    for _ in range(READERS):
        pieces: list[str] = []
        while len(pieces) < len(whole):
            found = _read(project, path, after=pieces[-1] if pieces else None, most=1)
            if not found:
                break
            pieces += found
        differing += pieces != whole
    _, after = project.call(f"/tasks/{view['task_id']}")
    return [
        at_most(f"of {READERS} readers of {len(whole)} events, with one lost or doubled", differing, 0),
        holds("the task is as it was", after["status"] == view["status"] == "completed"),
    ]


CALLERS = {
    40: Fault("readers that come and go", "50 readers, a new connection for each event", read_in_pieces),
    41: Fault("one Idempotency-Key 1,000 times", "50 at once, SIGKILL of the coordinator", ask_again_and_again, 120.0),
}


def _read(project: Project, path: str, *, after: str | None, most: int | None) -> list[str]:
    """The ids of a stream's events, at most so many, from the one after `after` on."""
    headers = project.authorize() | ({"Last-Event-ID": after} if after else {})
    ids: list[str] = []
    with urllib.request.urlopen(urllib.request.Request(project.url + path, headers=headers), timeout=10) as answer:
        for line in answer:
            if line.startswith(b"data: "):
                ids.append(str(json.loads(line[6:])["id"]))
                if len(ids) == most:
                    break
    return ids
