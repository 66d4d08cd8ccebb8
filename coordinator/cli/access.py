"""Commands about who may do what: list and remove agents, make and remove keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.options import DatabaseUrl, Json, KeyOption, Url

agents = typer.Typer(help="List the agents and how they are; 'remove' takes one off.")
keys = typer.Typer(help="Make and remove keys with scopes, in the file of KEYS_FILE.", no_args_is_help=True)
File = Annotated[Path, typer.Option(envvar="KEYS_FILE", help="The file of the keys.")]


@agents.callback(invoke_without_command=True)
def list_agents(context: typer.Context, url: Url = None, key: KeyOption = None, json: Json = False) -> None:
    """List the agents and how they are."""
    if context.invoked_subcommand is None:
        show_agents(url, key, json)


@agents.command("list")
def show_agents(url: Url = None, key: KeyOption = None, json: Json = False) -> None:
    """List the agents and how they are."""
    from coordinator.cli.client import get_json
    from coordinator.cli.console import out, show_json, show_table
    from shared.report.safe import clean

    rows = get_json(url, key, "/agents", {})["agents"]
    if json:
        show_json(rows)
        return
    shown = {"name": "agent", "status": "status", "load": "load", "breaker": "breaker", "agent_id": "id"}
    show_table(rows, shown | {"endpoint": "endpoint"}, cut="endpoint")
    for row in rows:
        if row["last_error"] and row["status"] != "healthy":
            out.print(f"{row['agent_id']}: {clean(row['last_error'])}", highlight=False, markup=False)


@agents.command("remove")
def remove_agent(
    agent_id: Annotated[str, typer.Argument(help="The id, as 'agents' shows it.")],
    url: Url = None,
    key: KeyOption = None,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Take an agent off the list, and forget whose its id and its name were.

    Needs a key with the scope 'admin', or the coordinator's journal: then any agent can be removed.
    """
    from coordinator.access.claims import operator_proof
    from coordinator.cli.client import client_of, request_json
    from coordinator.cli.console import out, show_json
    from coordinator.journal.upkeep.backup import read_secret
    from shared.contracts import SECRET
    from shared.settings import CoordinatorSettings, load_settings

    secret = read_secret(database_url or load_settings(CoordinatorSettings).database_url)
    proof = {SECRET: operator_proof(secret, agent_id)} if secret is not None else {}
    with client_of(url, key) as client:
        answer = request_json(client, "DELETE", f"/agents/{agent_id}", headers=proof)
    if json:
        show_json(answer)
        return
    out.print(f"{agent_id} is removed.", highlight=False)


@agents.command("drain")
def drain_agent(
    agent_id: Annotated[str, typer.Argument(help="The id, as 'agents' shows it.")],
    resume: Annotated[bool, typer.Option("--resume", help="Give it steps again.")] = False,
    url: Url = None,
    key: KeyOption = None,
    json: Json = False,
) -> None:
    """Give an agent no more steps; what it works on goes on."""
    from coordinator.cli.client import client_of, request_json
    from coordinator.cli.console import out, show_json

    with client_of(url, key) as client:
        answer = request_json(client, "PATCH", f"/agents/{agent_id}", json={"draining": not resume})
    if json:
        show_json(answer)
        return
    out.print(f"{agent_id} is {answer['status']}.", highlight=False)


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Who will use it; several keys may have one name.")],
    scopes: Annotated[str, typer.Option(help="execute, read, register, upload, admin: one or more, with commas.")],
    file: File,
    weight: Annotated[float, typer.Option(help="Its share of the places, beside other keys whose tasks wait.")] = 1.0,
    json: Json = False,
) -> None:
    """Make a key and print it, once: the file keeps only its digest."""
    from coordinator.access.keys import make_key
    from coordinator.cli.console import fail, show_json

    try:
        key = make_key(file, name, scopes.split(","), weight=weight)
    except ValueError as exc:
        fail(str(exc))
    except OSError as exc:
        fail(f"{file} cannot be written: {exc.strerror}.")
    if json:
        show_json({"name": name, "key": key})
        return
    typer.echo(key)


@keys.command("remove")
def remove_key(name: Annotated[str, typer.Argument(help="Whose keys.")], file: File, json: Json = False) -> None:
    """Remove every key of a name; a coordinator that runs takes it no more a second later."""
    from coordinator.access.keys import remove_keys
    from coordinator.cli.console import fail, out, show_json

    try:
        count = remove_keys(file, name)
    except OSError as exc:
        fail(f"{file} cannot be written: {exc.strerror}.")
    if count == 0:
        fail(f"{file} has no key of {name!r}.")
    if json:
        show_json({"name": name, "removed": count})
        return
    out.print(f"Removed: {count}.", highlight=False)
