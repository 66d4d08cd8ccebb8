"""Asks a question and shows the progress of its steps: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
from httpx_sse import SSEError, connect_sse
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from coordinator.cli.client import LATER, explain, request_json, unreachable
from coordinator.cli.console import AWAY, REFUSED, write_event
from shared.report.safe import clean

Json = dict[str, Any]
RETURNS = 30  # tries to come back to a stream that broke
RETURN_SECONDS = 1.0


class AskFailed(Exception):
    """The coordinator refused the task or cannot be reached; the text says what to do, `code` how the command ends."""

    def __init__(self, text: str, *, code: int = AWAY) -> None:
        super().__init__(text)
        self.code = code


class AskStopped(KeyboardInterrupt):
    """Ctrl-C, after the coordinator has accepted the task."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"The task {task_id} goes on: 'tail {task_id}' follows it, 'cancel {task_id}' ends it.")


def ask(client: httpx.Client, body: Json, console: Console) -> Json:
    """Runs a task, showing its progress on `console`; returns its TaskView. Raises `AskFailed`, `AskStopped`."""
    task_id, last = "", 0
    try:
        with _Display(console) as display:
            try:
                for name, data in _events(client, "POST", "/execute_task", json=body):
                    if name == "result":
                        return data
                    task_id, last = data["task_id"], data["id"]
                    display.show(name, data)
            except httpx.HTTPError as exc:
                if not task_id:
                    raise AskFailed(unreachable(client, exc)) from exc
            if not task_id:
                raise AskFailed("The coordinator stopped before it accepted the task.")
            for name, data in follow(client, task_id, after=last):  # it has stopped, and may come back
                display.show(name, data)
    except KeyboardInterrupt:
        if not task_id:
            raise
        raise AskStopped(task_id) from None
    return request_json(client, "GET", f"/tasks/{task_id}")


def follow(client: httpx.Client, task_id: str, *, after: int = 0) -> Iterator[tuple[str, Json]]:
    """The events of a task beyond the one with the id `after`, until it ends; comes back after a restart.

    Raises `AskFailed`.
    """
    last, failures = after, 0
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
            failed = AskFailed(unreachable(client, exc))
        except AskFailed as exc:
            failed = exc
        else:
            continue
        failures += 1
        if failed.code != AWAY or last == 0 or failures > RETURNS:  # only what was there is waited for
            raise failed
        time.sleep(RETURN_SECONDS)


def _events(client: httpx.Client, method: str, path: str, **more: Any) -> Iterator[tuple[str, Json]]:
    limits = httpx.Timeout(10, read=30)  # a comment comes every 10 s
    with connect_sse(client, method, path, timeout=limits, **more) as source:
        if source.response.status_code != 200:
            source.response.read()
            code = AWAY if source.response.status_code in LATER else REFUSED
            raise AskFailed(explain(client, source.response), code=code)
        try:
            for event in source.iter_sse():
                yield event.event, json.loads(event.data)
        except (SSEError, ValueError) as exc:
            raise AskFailed(f"{client.base_url} is no coordinator: it answers with something else.") from exc


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
        self._progress.update(bar, description=clean(words.get(name, name)), completed=done)
