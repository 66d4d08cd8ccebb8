"""Asks a question and shows the progress of its steps: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
from httpx_sse import connect_sse
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from coordinator.cli.console import write_event

Json = dict[str, Any]
RETURNS = 30  # tries to come back to a stream that broke
RETURN_SECONDS = 1.0


class AskFailed(Exception):
    """The coordinator refused the task or cannot be reached; the text says what to do."""


def ask(client: httpx.Client, body: Json, console: Console) -> Json:
    """Runs a task, showing its progress on `console`; returns its TaskView. Raises `AskFailed`."""
    try:
        with _Display(console) as display:
            for name, data in _events(client, "POST", "/execute_task", json=body):
                if name == "result":
                    return data
                display.show(name, data)
    except httpx.HTTPError as exc:
        raise AskFailed(unreachable(client, exc)) from exc
    raise AskFailed("The coordinator stopped before the task ended; the task continues after a restart.")


def follow(client: httpx.Client, task_id: str) -> Iterator[tuple[str, Json]]:
    """The events of a task, the past first, until it ends; comes back after a restart. Raises `AskFailed`."""
    last, failures = 0, 0
    while True:
        try:
            for name, data in _events(client, "GET", f"/tasks/{task_id}/events", headers={"Last-Event-ID": str(last)}):
                last, failures = data["id"], 0
                yield name, data
                if name == "task.finished":
                    return
            if client.get(f"/tasks/{task_id}", params={"view": "brief"}).json()["finished_at"] is not None:
                return
        except (httpx.HTTPError, KeyError, ValueError) as exc:
            failures += 1
            if failures > RETURNS:
                raise AskFailed(
                    unreachable(client, exc) if isinstance(exc, httpx.HTTPError) else "The coordinator does not answer."
                ) from exc
        time.sleep(RETURN_SECONDS)


def _events(client: httpx.Client, method: str, path: str, **more: Any) -> Iterator[tuple[str, Json]]:
    limits = httpx.Timeout(10, read=30)  # a comment comes every 10 s
    with connect_sse(client, method, path, timeout=limits, **more) as source:
        if source.response.status_code != 200:
            source.response.read()
            raise AskFailed(explain(source.response))
        for event in source.iter_sse():
            yield event.event, json.loads(event.data)


def unreachable(client: httpx.Client, exc: httpx.HTTPError) -> str:
    """Why there is no answer, and what to do, in one line."""
    why = re.sub(r"^\[Errno -?\d+\] ", "", str(exc)).rstrip(".") or type(exc).__name__
    return f"{client.base_url} cannot be reached: {why}. Is it running? Try 'make run', or name another with --url."


def explain(response: httpx.Response) -> str:
    """What a problem answer says, in one line."""
    try:
        return f"HTTP {response.status_code}: {response.json()['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}: {response.text[:200]}"


class _Display:
    """One bar a step on a terminal; one line an event elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.fields[step]:<12}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.description}", style="dim", markup=False),
            console=console,
            transient=True,  # the answer is what stays
            disable=not console.is_terminal,
        )

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, name: str, data: Json) -> None:
        if not self._console.is_terminal:
            write_event(self._console, name, data)
        elif name in ("task.planned", "task.replanned"):
            self._plan([step["id"] for step in data["steps"]])
        elif (bar := self._bars.get(data.get("step_id", ""))) is not None:
            self._move(bar, name, data)

    def _plan(self, steps: list[str]) -> None:
        for gone in self._bars.keys() - set(steps):
            self._progress.remove_task(self._bars.pop(gone))
        for step in steps:
            if step not in self._bars:
                self._bars[step] = self._progress.add_task("waiting", step=step, total=1.0, start=False)

    def _move(self, bar: TaskID, name: str, data: Json) -> None:
        if name == "step.started":
            self._progress.start_task(bar)
        words = {
            "step.started": f"{data.get('agent')} works",
            "step.progress": str(data.get("message", "")),
            "step.retried": f"again: {data.get('why')}",
            "step.finished": f"done by {data.get('agent')}",
            "step.failed": f"{data.get('error')}: {data.get('why')}",
        }
        done = 1.0 if name in ("step.finished", "step.failed") else data.get("fraction")
        self._progress.update(bar, description=_clean(words.get(name, name)), completed=done)


def _clean(text: str) -> str:
    from shared.rendering import clean  # with the first event: it takes 0.1 s, in which the agents work already

    return clean(text)
