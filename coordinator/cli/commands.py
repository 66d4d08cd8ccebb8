"""The commands of `python -m coordinator.cli`: start the suite, ask it, and look at its tasks and agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from coordinator.cli import access
from coordinator.cli.journal_commands import journal
from coordinator.cli.moving.command import moves
from coordinator.cli.options import Json, KeyOption, Url
from coordinator.cli.replays.command import replays
from coordinator.cli.task_commands import read_plan, tasks
from coordinator.cli.upload_commands import documents, uploads

# Each command imports what it needs itself: all together are 0.5 s of processor time, which `--help` and a mistyped
# option would wait for. What is imported here, they pay.

cli = typer.Typer(
    help="Muster: start the suite, ask it questions, show its tasks and agents.",
    epilog="Start with 'demo', which needs nothing running. Or 'run' in one terminal and 'ask' in another.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes cost 0.07 s
    context_settings={"help_option_names": ["-h", "--help"]},
)
DEFAULT_QUESTION = (
    "What happens to a running task when the coordinator is killed, and how does it resume after a restart?"
)

cli.add_typer(access.agents, name="agents")
cli.add_typer(access.keys, name="keys")
cli.add_typer(documents, name="documents")
cli.add_typer(tasks)
cli.add_typer(uploads)
cli.add_typer(replays)
cli.add_typer(journal)
cli.add_typer(moves)


def _print_version(wanted: bool) -> None:
    if wanted:
        from shared.version import VERSION

        typer.echo(VERSION)
        raise typer.Exit()


@cli.callback()
def muster(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Muster: start the suite, ask it questions, show its tasks and agents."""


@cli.command()
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")] = "bash") -> None:
    """Print the script that completes 'muster' in a shell."""
    from coordinator.cli.completion.scripts import SHELLS, list_words

    if shell not in SHELLS:
        raise typer.BadParameter(f"{shell} is none of {', '.join(SHELLS)}.")
    typer.echo(SHELLS[shell](list_words(cli)), nl=False)


@cli.command()
def run(
    host: Annotated[str, typer.Option(help="Address that all four services listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65_532, help="The coordinator's port; the workers take the next three.")
    ] = 8000,
) -> None:
    """Start the coordinator and three workers; Ctrl-C ends all four."""
    from coordinator.cli.console import err, fail
    from coordinator.cli.local_suite import Suite, SuiteFailed, prefixed

    ports = list(range(port, port + 4))
    try:
        with Suite(ports=ports, show=prefixed(), host=host) as suite:
            err.print(f"Muster is starting at {suite.url}. Docs: {suite.url}/docs. Ctrl-C stops it.", highlight=False)
            suite.run_for_ever()
            err.print("Stopping …")
    except SuiteFailed as exc:
        fail(str(exc))


@cli.command()
def demo(
    question: Annotated[str, typer.Option(envvar="QUESTION", help="What to ask.")] = DEFAULT_QUESTION,
    knowledge_dir: Annotated[Path, typer.Option(envvar="KNOWLEDGE_DIR", help="Folder of documents.")] = Path("docs"),
    output: Annotated[Path, typer.Option(envvar="OUTPUT", help="File for the HTML report.")] = Path("report.html"),
    timeout: Annotated[float, typer.Option(help="Time limit in seconds.")] = 50.0,
) -> None:
    """Start, ask about a folder, print the report, stop.

    The suite listens on free ports, and its journal is gone afterwards.
    """
    import tempfile

    from coordinator.cli.ask import AskFailed, ask
    from coordinator.cli.client import client_of, own_key
    from coordinator.cli.console import err, fail
    from coordinator.cli.local_suite import Suite, SuiteFailed, free_ports
    from coordinator.cli.outcome import in_folder, show
    from shared.settings import at_home

    knowledge_dir, output = at_home(knowledge_dir), at_home(output)
    if not knowledge_dir.is_dir():
        fail(f"KNOWLEDGE_DIR={knowledge_dir} is not a folder. Set it to a folder with documents.")
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
                    show(client, task, in_folder(knowledge_dir), output)
        except (SuiteFailed, AskFailed) as exc:
            err.print("\n".join(lines[-15:]), highlight=False, markup=False)
            fail(str(exc))
    err.print("All services stopped.")


@cli.command("ask")
def ask_command(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    url: Url = None,
    key: KeyOption = None,
    timeout: Annotated[float, typer.Option(help="Time limit in seconds.")] = 30.0,
    html: Annotated[Path | None, typer.Option(help="Also write the report to this file, as HTML.")] = None,
    plan: Annotated[Path | None, typer.Option(help="A file with a plan of your own, as JSON.")] = None,
    later: Annotated[bool, typer.Option("--async", help="Print the task's id and wait for nothing.")] = False,
    json: Json = False,
) -> None:
    """Ask a running suite; prints the answer, then its sources.

    Progress goes to stderr, live on a terminal.
    Ends with 0, with 3 when the documents do not seem to answer, with 1 when there is no answer for another reason,
    with 4 when no coordinator answers. Ctrl-C stops no task.
    """
    from coordinator.cli.ask import AskFailed, AskStopped, ask
    from coordinator.cli.client import client_of, request_json
    from coordinator.cli.console import STOPPED, err, fail, show_json

    body: dict[str, Any] = {"task_description": question, "timeout_seconds": timeout}
    body |= {"plan": read_plan(plan)} if plan is not None else {}
    with client_of(url, key) as client:
        if later:
            task = request_json(client, "POST", "/execute_task", json=body, headers={"Prefer": "respond-async"})
            if json:
                show_json(task)
            else:
                typer.echo(task["task_id"])
            return
        try:
            task = ask(client, body, err)
        except AskFailed as exc:
            fail(str(exc), code=exc.code)
        except AskStopped as exc:
            fail(str(exc), code=STOPPED)
        if json:
            from coordinator.cli.outcome import exit_code

            show_json(task)
            raise typer.Exit(exit_code(task))
        from coordinator.cli.outcome import exit_code, pages_at, show

        show(client, task, pages_at(client, task), html)
    raise typer.Exit(exit_code(task))


@cli.command("doctor")
def doctor_command(
    url: Url = None,
    key: KeyOption = None,
    project: Annotated[
        str | None,
        typer.Option(envvar="COMPOSE_PROJECT_NAME", help="Compose project, if the port does not identify it."),
    ] = None,
    json: Json = False,
) -> None:
    """Find what is wrong, and the command that fixes it.

    Its model is tried out, too.
    Ends with 0 when all is well, 1 when something is not, 2 when it could not look.
    """
    from contextlib import suppress

    from coordinator.cli.address import NoAddress
    from coordinator.cli.client import own_url
    from coordinator.cli.console import err, out
    from coordinator.cli.doctor import inspect
    from coordinator.cli.doctor.rules import examine
    from shared.client.here import find_key

    with suppress(ValueError):  # a file of the key that cannot be read may be what is looked for
        key = key or find_key()
    try:
        facts = inspect.look(url or own_url(), key, name=project)
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
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; unset: standard output.")
    ] = None,
) -> None:
    """Turn KAOS's manifests into a compose file.

    What is left out is named on stderr; if something cannot be translated, nothing is written and it ends with 2.
    """
    from coordinator.cli.console import err
    from coordinator.cli.manifests.convert import render

    text, problems = render(manifests)
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
