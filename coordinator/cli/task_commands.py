"""The commands of `python -m coordinator.cli` for tasks: list, show, explain, follow, run again, cancel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from coordinator.cli.options import Json, KeyOption, Url

tasks = typer.Typer()
TaskId = Annotated[str, typer.Argument(help="The task's id.")]
Status = Annotated[str | None, typer.Option(help="Only tasks with this status.")]
Since = Annotated[str | None, typer.Option(help="Only tasks since then: 90s, 30m, 1h, 2d, or an ISO time.")]


@tasks.command("tasks")
def list_tasks(
    url: Url = None,
    key: KeyOption = None,
    status: Status = None,
    agent: Annotated[str | None, typer.Option(help="Only tasks in which this agent answered.")] = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    json: Json = False,
) -> None:
    """List tasks, newest first."""
    from coordinator.cli.client import client_of
    from coordinator.cli.console import age, show_json, show_table
    from coordinator.cli.reruns import list_pages, parse_since

    asked = {"status": status, "agent": agent, "since": parse_since(since)}
    with client_of(url, key) as client:
        rows = list(list_pages(client, asked, limit=limit))
    if json:
        show_json(rows)
        return
    rows = [row | {"age": age(row["created_at"])} for row in rows]
    shown = {"task_id": "task", "age": "age", "status": "status", "duration_seconds": "s", "task_description": "asked"}
    show_table(rows, shown, cut="task_description")


@tasks.command()
def show(task_id: TaskId, url: Url = None, key: KeyOption = None, json: Json = False) -> None:
    """Show a task and its steps."""
    from coordinator.cli.client import get_json
    from coordinator.cli.console import err, show_json, show_table

    task = get_json(url, key, f"/tasks/{task_id}", {} if json else {"view": "brief"})
    if json:
        show_json(task)
        return
    said = f"Task {task['task_id']}: {task['status']}"
    if task["duration_seconds"] is not None:
        said += f" in {task['duration_seconds']:.2f} s"
    if task.get("rerun"):
        said += f"; a re-run of {task['rerun']['parent']}"
    err.print(said, highlight=False, markup=False)
    rows = [step | {"why": (step["error"] or {}).get("detail")} for step in task["results"]]
    shown = {"step_id": "step", "status": "status", "agent": "agent", "attempt": "tries", "duration_seconds": "s"}
    show_table(rows, shown | {"why": "why"})
    for lost in task["missing"]:
        err.print(f"Missing: {lost['what']}: {lost['why']}", highlight=False, markup=False)


@tasks.command()
def why(task_id: TaskId, url: Url = None, key: KeyOption = None, json: Json = False) -> None:
    """Say why a task was slow, failed or expensive."""
    from coordinator.cli.client import get_json
    from coordinator.cli.console import show_json
    from shared.report.safe import clean

    told = get_json(url, key, f"/tasks/{task_id}/why", {})
    if json:
        show_json(told)
        return
    typer.echo("\n".join(clean(line) for line in told["lines"]))


@tasks.command()
def tail(task_id: TaskId, url: Url = None, key: KeyOption = None, json: Json = False) -> None:
    """Follow the events of a task until it ends.

    Ends with 0 when the task completed, also in part, with 1 otherwise.
    """
    from coordinator.cli.ask import AskFailed, follow
    from coordinator.cli.client import client_of
    from coordinator.cli.console import fail, out, show_json, write_event

    status = ""
    with client_of(url, key) as client:
        try:
            for name, data in follow(client, task_id):
                if json:
                    show_json(data, indent=None)
                else:
                    write_event(out, name, data)
                status = data.get("status", "") if name == "task.finished" else status
        except AskFailed as exc:
            fail(str(exc), code=exc.code)
    raise typer.Exit(0 if status in ("completed", "partial") else 1)


@tasks.command()
def rerun(
    task_id: Annotated[str | None, typer.Argument(help="The task's id; or name many by --status.")] = None,
    from_step: Annotated[str | None, typer.Option("--from", help="Begin at this step; unset: run everything.")] = None,
    inputs: Annotated[list[str] | None, typer.Option("--input", help="STEP=JSON, another input of a step.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Time limit in seconds; unset: as before.")] = None,
    status: Annotated[str | None, typer.Option(help="Run all tasks with this status again.")] = None,
    since: Since = None,
    rate: Annotated[float, typer.Option(min=0.01, max=100, help="With --status: tasks a second at the most.")] = 2.0,
    url: Url = None,
    key: KeyOption = None,
    json: Json = False,
) -> None:
    """Run a task again, or all with a status.

    Prints the id of the new task, or what became of each. It waits for no end: 'tail' does.
    With --status each task is run again once, however often this is called.
    Ends with 0 when all were taken, with 1 when one was refused.
    """
    from coordinator.cli.client import client_of
    from coordinator.cli.console import fail, out, show_json
    from coordinator.cli.reruns import parse_inputs, parse_since, rerun_many, rerun_one

    if (task_id is None) == (status is None):
        raise typer.BadParameter("Name a task, or tasks with --status.")
    if status is None and since is not None:
        raise typer.BadParameter("--since goes with --status.")
    wish: dict[str, Any] = {"from_step": from_step, "inputs": parse_inputs(inputs or []), "timeout_seconds": timeout}
    done, refused = [], 0
    with client_of(url, key) as client:
        if task_id is not None:
            done = [rerun_one(client, task_id, wish)]
        else:
            asked = {"status": status, "since": parse_since(since)}
            for one in rerun_many(client, asked, wish, rate=rate):
                done.append(one)
                if not json:
                    out.print(one.line, highlight=False, markup=False)
    if json:
        show_json([vars(one) for one in done])
    elif task_id is not None and done[0].error is None:
        typer.echo(done[0].new_task_id)
    refused = sum(one.error is not None for one in done)
    if task_id is not None and done[0].error is not None and not json:
        fail(done[0].line)
    if status is not None and not json:
        out.print(f"Run again: {len(done) - refused}. Refused: {refused}.", highlight=False)
    raise typer.Exit(1 if refused else 0)


@tasks.command()
def report(
    task_id: TaskId,
    url: Url = None,
    key: KeyOption = None,
    format: Annotated[str, typer.Option(help="md, html or json.")] = "md",
    json: Json = False,
) -> None:
    """Print a task's report."""
    from coordinator.cli.client import client_of, request

    with client_of(url, key) as client:
        typer.echo(request(client, "GET", f"/tasks/{task_id}/report.{'json' if json else format}").text)


@tasks.command()
def cancel(task_id: TaskId, url: Url = None, key: KeyOption = None, json: Json = False) -> None:
    """Stop a task and everything that works on it."""
    from coordinator.cli.client import client_of, request_json
    from coordinator.cli.console import out, show_json

    with client_of(url, key) as client:
        answer = request_json(client, "POST", f"/tasks/{task_id}/cancel")
    if json:
        show_json(answer)
        return
    out.print(f"{answer['task_id']} is being cancelled.", highlight=False)


def read_plan(path: Path) -> list[Any]:
    """The plan in a file: a list of steps, or an object with one in `plan`; ends the command where there is none."""
    from json import loads

    from coordinator.cli.console import WRONG, fail

    try:
        found = loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else f"it is not JSON: {exc}"
        fail(f"{path} holds no plan: {why}.", code=WRONG)
    plan = found.get("plan") if isinstance(found, dict) else found
    if not isinstance(plan, list):
        fail(f"{path} holds no plan: a plan is a list of steps, or an object with one in 'plan'.", code=WRONG)
    return plan
