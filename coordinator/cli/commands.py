"""The commands of `python -m coordinator.cli`: start the suite, ask it, and look at its tasks and agents."""

from __future__ import annotations

import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from coordinator.backup import backup as copied
from coordinator.cli.ask import AskFailed, ask
from coordinator.cli.client import checked, client_of, err, fail, got, own_key
from coordinator.cli.doctor import inspect
from coordinator.cli.doctor.http import NoAddress
from coordinator.cli.doctor.rules import examine
from coordinator.cli.local_suite import Suite, SuiteFailed, free_ports
from coordinator.cli.outcome import exit_code, in_folder, show
from shared.errors import MusterError
from shared.rendering import clean
from shared.rendering.links import numbered
from shared.serve import load_settings
from shared.settings import CoordinatorSettings, at_home

cli = typer.Typer(
    help="Muster: starts the suite, asks it questions, shows its tasks and agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
COLOURS = {"coordinator": "36", "researcher": "32", "analyzer": "33", "reporter": "35"}
DEFAULT_QUESTION = (
    "What happens to a running task when the coordinator is killed, and how does it resume after a restart?"
)

Url = Annotated[str, typer.Option(envvar="COORDINATOR_URL", help="Where the coordinator listens.")]
Key = Annotated[
    str | None, typer.Option(envvar="API_KEY", help="Bearer token, where there must be one; unset: as in .env.")
]
URL = "http://127.0.0.1:8000"
out = Console(soft_wrap=True)


@cli.command()
def run(
    host: Annotated[str, typer.Option(help="Address that all four listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65_532, help="The coordinator's port; the workers take the next three.")
    ] = 8000,
) -> None:
    """Start coordinator, researcher, analyzer and reporter; one Ctrl-C ends all."""
    ports = list(range(port, port + 4))
    try:
        with Suite(ports=ports, show=_prefixed(), host=host) as suite:
            err.print(f"Muster is starting at {suite.url}. Docs: {suite.url}/docs. Ctrl-C ends it.", highlight=False)
            suite.run_for_ever()
            err.print("Stopping …")
    except SuiteFailed as exc:
        fail(str(exc))


@cli.command()
def demo(
    question: Annotated[str, typer.Option(envvar="QUESTION", help="What to ask.")] = DEFAULT_QUESTION,
    knowledge_dir: Annotated[Path, typer.Option(envvar="KNOWLEDGE_DIR", help="Folder of documents.")] = Path("docs"),
    output: Annotated[Path, typer.Option(envvar="OUTPUT", help="Where the HTML report goes.")] = Path("report.html"),
    timeout: Annotated[float, typer.Option(help="Seconds the answer may take.")] = 50.0,
) -> None:
    """Start the suite on free ports, ask one question about a folder, print the report, stop everything."""
    knowledge_dir, output = at_home(knowledge_dir), at_home(output)
    if not knowledge_dir.is_dir():
        fail(f"KNOWLEDGE_DIR={knowledge_dir} is no folder. Name one with documents in it.")
    key = own_key()
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="muster-demo-") as folder:
        environ = {
            "DATABASE_URL": f"sqlite:///{folder}/muster.db",
            "KNOWLEDGE_DIR": str(knowledge_dir.absolute()),
            "STATE_DIR": str(Path("data/demo").absolute()),
        }
        try:
            with Suite(
                ports=free_ports(4),
                show=lambda name, line: lines.append(f"{name} | {line}"),
                environ=environ,
            ) as suite:
                err.print(f"Starting coordinator and workers at {suite.url} …", highlight=False)
                suite.wait_ready(key=key)
                with client_of(suite.url, key) as client:
                    err.print(f"Asking about {knowledge_dir}: {question}", highlight=False, markup=False)
                    task = ask(client, {"task_description": question, "timeout_seconds": timeout}, err)
                    show(client, task, in_folder(knowledge_dir), output, out=out)
        except (SuiteFailed, AskFailed) as exc:
            err.print("\n".join(lines[-15:]), highlight=False, markup=False)
            fail(str(exc))
    err.print("Everything is stopped.")


@cli.command("ask")
def ask_command(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    url: Url = URL,
    key: Key = None,
    timeout: Annotated[float, typer.Option(help="Seconds the answer may take.")] = 30.0,
    html: Annotated[Path | None, typer.Option(help="Also write the report as a page to this file.")] = None,
) -> None:
    """Ask a running suite, with live progress; prints the answer, then its sources.

    Ends with 0, with 3 when the documents do not seem to answer, with 1 when there is no answer for another reason.
    """
    with client_of(url, key) as client:
        try:
            task = ask(client, {"task_description": question, "timeout_seconds": timeout}, err)
        except AskFailed as exc:
            fail(str(exc))
        show(
            client,
            task,
            numbered(f"{str(client.base_url).rstrip('/')}/tasks/{task['task_id']}/sources/"),
            html,
            out=out,
        )
    raise typer.Exit(exit_code(task))


@cli.command()
def tasks(
    url: Url = URL,
    key: Key = None,
    status: Annotated[str | None, typer.Option(help="Only tasks in this status.")] = None,
    limit: Annotated[int, typer.Option(help="How many.")] = 20,
) -> None:
    """List tasks, newest first."""
    params = {"limit": limit} | ({"status": status} if status else {})
    rows = got(url, key, "/tasks", params)["tasks"]
    _table(rows, {"task_id": "task", "status": "status", "duration_seconds": "s", "task_description": "asked"})


@cli.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="Where the copies go; a backup that is there is replaced.")],
    database_url: Annotated[
        str | None, typer.Option(envvar="DATABASE_URL", help="The journal; unset: as in .env.")
    ] = None,
) -> None:
    """Copy the journal, A2A's tasks and the coordinator's conversations into a folder, while the coordinator runs."""
    with Progress(console=err, transient=True) as progress:
        bar = progress.add_task("copying", total=1.0)
        try:
            size = copied(
                database_url or load_settings(CoordinatorSettings).database_url,
                folder,
                tell=lambda share: progress.update(bar, completed=share),
            )
        except MusterError as exc:
            fail(exc.detail)
    told = f"{folder}: {size / 1e6:.1f} MB, with every task up to now, conversations and the coordinator's secret."
    err.print(told, highlight=False, markup=False)


@cli.command()
def agents(url: Url = URL, key: Key = None) -> None:
    """List the agents and how they are."""
    rows = got(url, key, "/agents", {})["agents"]
    shown = {"name": "agent", "endpoint": "endpoint", "status": "status", "load": "load", "breaker": "breaker"}
    _table(rows, shown | {"last_error": "last error"})


@cli.command()
def report(
    task_id: Annotated[str, typer.Argument(help="The task.")],
    url: Url = URL,
    key: Key = None,
    format: Annotated[str, typer.Option(help="md, html or json.")] = "md",
) -> None:
    """Print a task's report."""
    with client_of(url, key) as client:
        typer.echo(checked(client, "GET", f"/tasks/{task_id}/report.{format}").text)


@cli.command()
def cancel(task_id: Annotated[str, typer.Argument(help="The task.")], url: Url = URL, key: Key = None) -> None:
    """Stop a task and everything that works on it."""
    with client_of(url, key) as client:
        answer = checked(client, "POST", f"/tasks/{task_id}/cancel").json()
    out.print(f"{answer['task_id']} is being cancelled.", highlight=False)


@cli.command("doctor")
def doctor_command(
    url: Url = URL,
    key: Key = None,
    project: Annotated[
        str | None,
        typer.Option(envvar="COMPOSE_PROJECT_NAME", help="Compose project, where the port does not name it."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check for the usual failures, try the model out, and name the command that fixes each.

    Ends with 0 when all is well, 1 when something is not, 2 when it could not look.
    """
    with suppress(SystemExit):  # a wrong setting was named, and may be what is looked for
        key = key or own_key()
    try:
        facts = inspect.look(url, key, name=project)
    except NoAddress as exc:
        err.print(str(exc), style="red", highlight=False, markup=False)
        raise typer.Exit(inspect.CANNOT_LOOK) from exc
    findings = examine(facts)
    if json:
        typer.echo(inspect.as_json(facts, findings))
    else:
        inspect.show(facts, findings, out)
    raise typer.Exit(inspect.exit_code(facts, findings))


@cli.command("render")
def render_command(
    manifests: Annotated[list[Path], typer.Argument(help="KAOS's Agent, ModelAPI and MCPServer manifests.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where it goes; else it is printed.")] = None,
) -> None:
    """Turn KAOS's Kubernetes manifests into a compose file.

    What is left out is named on stderr; if something cannot be translated, nothing is written and it ends with 2.
    """
    from coordinator.cli.manifests import convert  # reads YAML, which nothing else here needs

    text, problems = convert.rendered(manifests)
    for problem in problems:
        err.print(str(problem), style="red" if problem.fatal else "yellow", highlight=False, markup=False)
    if any(problem.fatal for problem in problems):
        raise typer.Exit(2)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        err.print(f"{output} cannot be written: {exc.strerror}", style="red", highlight=False, markup=False)
        raise typer.Exit(2) from exc
    err.print(f"Written: {output}. Next: docker compose -f {output} up -d --wait", highlight=False, markup=False)


def _table(rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    table = Table(box=None)
    for title in columns.values():
        table.add_column(title, overflow="fold", no_wrap=title == "task")  # an id is there to be copied
    for row in rows:
        table.add_row(*(Text("" if row.get(name) is None else clean(str(row[name]))) for name in columns))
    out.print(table if rows else "None.")


def _prefixed() -> Any:
    lock = threading.Lock()
    colour = sys.stdout.isatty()

    def show(name: str, line: str) -> None:
        head = f"\033[{COLOURS[name]}m{name:<11}\033[0m" if colour else f"{name:<11}"
        with lock:
            print(f"{head} | {line}", flush=True)

    return show
