"""Tasks that are run again from the command line: one, or all of a night, a few each second and each only once."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from json import loads
from typing import Any

import httpx
import typer

from coordinator.cli.client import LATER, explain, read_object, refuse, request_json, unreachable
from coordinator.cli.console import AWAY, fail

PAGE = 200
MOST_WAITS = 20  # for a full queue, in a row
WAIT_SECONDS = 30.0  # the longest of them
_FOR_ALL = {401, 403, *LATER} - {429}  # what refuses this task refuses every other
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Again:
    """A task, and the new one that does it again, or why there is none."""

    task_id: str
    new_task_id: str | None = None
    error: str | None = None

    @property
    def line(self) -> str:
        if self.new_task_id is None:
            return f"{self.task_id} is not run again: {self.error}"
        return f"{self.task_id} is run again as {self.new_task_id}."


def parse_since(text: str | None) -> str | None:
    """A time as the API takes it; raises `typer.BadParameter` for what is none."""
    if text is None:
        return None
    if found := re.fullmatch(r"(\d{1,9})([smhd])", text.strip()):
        try:
            return (datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})).isoformat()
        except OverflowError:
            pass
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError as exc:
        raise typer.BadParameter(f"{text!r} is no time: say 90s, 30m, 1h, 2d, or an ISO time.") from exc


def parse_inputs(given: list[str]) -> dict[str, Any]:
    """`STEP=JSON`, each; raises `typer.BadParameter` for what is none."""
    inputs = {}
    for one in given:
        step, equals, text = one.partition("=")
        try:
            inputs[step] = loads(text)
        except ValueError as exc:
            quote = f"'{step}=\"…\"'" if equals else "'STEP=JSON'"
            raise typer.BadParameter(f"{one!r} has no JSON after '='; a text is {quote}.") from exc
    return inputs


def list_pages(client: httpx.Client, asked: dict[str, Any], *, limit: int) -> Iterator[dict[str, Any]]:
    """Tasks, newest first, as many as there are up to `limit`."""
    params = {name: value for name, value in asked.items() if value is not None}
    while limit > 0:
        page = request_json(client, "GET", "/tasks", params | {"limit": min(PAGE, limit)})
        yield from page["tasks"]
        limit -= len(page["tasks"])
        if page["next_cursor"] is None:
            return
        params["cursor"] = page["next_cursor"]


def rerun_one(client: httpx.Client, task_id: str, wish: dict[str, Any], *, once: bool = False) -> Again:
    """Runs a task again; with `once`, never a second time. Waits while the queue is full."""
    headers = {"Prefer": "respond-async"} | ({"Idempotency-Key": f"rerun-{task_id}"} if once else {})
    body = {name: value for name, value in wish.items() if value}
    for _ in range(MOST_WAITS):
        try:
            answer = client.post(f"/tasks/{task_id}/rerun", json=body, headers=headers)
        except httpx.HTTPError as exc:
            fail(unreachable(client, exc), code=AWAY)
        if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            break
        time.sleep(min(WAIT_SECONDS, float(answer.headers.get("Retry-After", 1))))
    if answer.status_code in _FOR_ALL:
        refuse(client, answer)
    if not answer.is_success:
        return Again(task_id, error=explain(client, answer))
    return Again(task_id, new_task_id=read_object(client, answer)["task_id"])


def rerun_many(client: httpx.Client, asked: dict[str, Any], wish: dict[str, Any], *, rate: float) -> Iterator[Again]:
    """Runs all these tasks again, the oldest first, at most `rate` a second, each once."""
    for task in reversed(list(list_pages(client, asked, limit=1_000_000))):
        began = time.monotonic()
        yield rerun_one(client, task["task_id"], wish, once=True)
        time.sleep(max(0.0, 1 / rate - (time.monotonic() - began)))
