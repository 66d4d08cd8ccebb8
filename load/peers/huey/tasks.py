"""Huey's tasks: two at once and a chord's callback, queue and results in SQLite with fsync."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import urllib3
from huey import SqliteHuey
from huey.api import Result, chord
from job import EXECUTE, step

huey = SqliteHuey("peer", filename=str(Path.home() / "huey.db"), fsync=True)
http = urllib3.PoolManager(maxsize=64)


def post(body: dict[str, Any]) -> dict[str, Any]:
    return dict(http.request("POST", EXECUTE, json=body).json())


@huey.task()
def call(body: dict[str, Any]) -> dict[str, Any]:
    return post(body)


@huey.task()
def report(before: list[dict[str, Any]], task_id: str, description: str) -> list[dict[str, Any]]:
    return [*before, post(step(task_id, "report", description, before))]


def start(task_id: str, description: str) -> Result:
    header = [call.s(step(task_id, name, description, [])) for name in ("research", "analyze")]
    return huey.enqueue(chord(header, report.s(task_id=task_id, description=description)))
