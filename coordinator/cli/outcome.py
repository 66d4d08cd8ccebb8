"""The end of `ask` and `demo`: prints the report, writes the page, and chooses the exit code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import typer

from coordinator.cli.client import request
from coordinator.cli.console import REFUSED, UNANSWERED, err, fail, out
from shared.contracts import Status
from shared.rendering import Link, address, answer_to_markdown, clean, to_html
from shared.rendering.links import source_link
from shared.report.model import NumberedSource, Report


def show(client: httpx.Client, task: dict[str, Any], link: Link, html: Path | None) -> None:
    """Prints what a task found out, formatted on a terminal and as Markdown elsewhere, and writes the page."""
    path = f"/tasks/{task['task_id']}/report"
    report = None if _is_foreign(task) else Report.model_validate_json(request(client, "GET", f"{path}.json").content)
    if report is None:
        _print_foreign(request(client, "GET", f"{path}.md").text)
    elif out.is_terminal:
        from coordinator.cli.printed import print_report

        print_report(report, out, link)
    else:
        typer.echo(answer_to_markdown(report, link), nl=False)
    err.print(f"Task {task['task_id']}: {task['status']} in {task['duration_seconds']:.2f} s.", highlight=False)
    if html is not None:
        page = to_html(report, link) if report else request(client, "GET", f"{path}.html").text
        _write(html, page)


def _print_foreign(text: str) -> None:
    if not out.is_terminal:
        typer.echo(text)
        return
    from rich.markdown import Markdown

    out.print(Markdown(clean(text, keep_lines=True)))


def _is_foreign(task: dict[str, Any]) -> bool:
    """Whether another reporter wrote the report, as a text that only its author can read."""
    made = [s["output"] for s in task["results"] if s["capability"] == "report" and s["status"] == Status.COMPLETED]
    return any(not (isinstance(output, dict) and "document" in output) for output in made)


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as exc:
        fail(f"{path} cannot be written: {exc.strerror}.")
    err.print(f"The report as a page: {path}", highlight=False)


def pages_at(client: httpx.Client, task: dict[str, Any]) -> Link:
    """Links to the coordinator's pages of a task's sources: in its container, where people open them outside."""
    base = os.environ.get("OPEN_URL") or str(client.base_url)
    return source_link(f"{base.rstrip('/')}/tasks/{task['task_id']}/sources/")


def in_folder(folder: Path) -> Link:
    """Links to the files of a folder, for reports that outlive the suite which could show a passage."""
    root = folder.resolve()

    def link(source: NumberedSource) -> str:
        for name in (source.location, source.location.rpartition("#")[0]):
            path = (root / name).resolve() if name and "\0" not in name else root
            if path.is_relative_to(root) and path.is_file():
                return path.as_uri()
        return address(source)

    return link


def exit_code(task: dict[str, Any]) -> int:
    """The exit code that a task's end deserves."""
    if task["status"] not in (Status.COMPLETED, Status.PARTIAL):
        return REFUSED
    return UNANSWERED if (task["result"] or {}).get("answered") is False else 0
